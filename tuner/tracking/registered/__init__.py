"""MLflow models that stand alone: what is in one, what serves it, and whether it is right."""
