"""A model in service: rows in, scores out, the same in batches, in shadow, in the staging check and for single rows."""
