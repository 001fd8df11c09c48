"""Tests of the era that makes by diffusion."""
