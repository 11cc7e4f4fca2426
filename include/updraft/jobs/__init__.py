"""What surrounds a training: its request and result, the process or pod it runs in, checkpoint, progress, usage, MLflow run."""
