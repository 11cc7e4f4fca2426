"""Replay: a closed history through the real DAGs, partition by partition, each time waiting for the loop to settle."""
