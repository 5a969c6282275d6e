"""What predictions are worth: metrics of a label, similarity of embeddings."""
