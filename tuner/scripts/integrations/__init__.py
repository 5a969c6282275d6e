"""Reports from training loops of others, which are imported where a user has imported them."""
