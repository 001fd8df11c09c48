"""Learned representations: how the blame for an error finds its way to every parameter."""
