"""A search for better parameters: what to try next, when a try is given up, and where it is kept. Knows nothing of trainings."""
