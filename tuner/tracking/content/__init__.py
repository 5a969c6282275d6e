"""What MLflow is shown of studies: names, tags, parameters and metrics."""
