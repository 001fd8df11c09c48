"""The era sequences."""
