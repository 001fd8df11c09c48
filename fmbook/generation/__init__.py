"""Making: models whose output is new data."""
