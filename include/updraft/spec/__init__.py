"""``project.yaml`` -> frozen typed spec; every error at once, with file, key, value and what is allowed."""
