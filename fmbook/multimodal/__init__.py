"""Seeing: patterns that are looked for at every place of an image."""
