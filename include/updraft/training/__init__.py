"""Learning: from a recipe and rows to a model as plain bytes. It knows nothing of requests, processes, pods or MLflow: `jobs` does."""
