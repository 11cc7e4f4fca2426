"""Evaluation: metrics, the gates of a holdout, slices."""
