"""Attention and the models that are made of it."""
