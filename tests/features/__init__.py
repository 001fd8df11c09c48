"""The era features."""
