"""Tests of the era gradients."""
