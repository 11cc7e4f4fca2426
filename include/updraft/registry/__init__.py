"""The MLflow registry: versions, aliases, signatures."""
