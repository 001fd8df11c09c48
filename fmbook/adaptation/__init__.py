"""Adaptation: what a pre-trained model saves, and how it is made to do something else."""
