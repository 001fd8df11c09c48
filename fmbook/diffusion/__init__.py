"""Seeing and making: models that turn noise into data, step by step."""
