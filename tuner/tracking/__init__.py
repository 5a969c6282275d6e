"""What MLflow and Optuna show of a study, copied from the store; the model registry."""
