"""Monitoring: what changed in the data and in the model's losses, and what to do about it."""
