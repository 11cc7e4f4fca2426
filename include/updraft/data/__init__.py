"""Sources, partitions, validation, privacy, snapshots."""
