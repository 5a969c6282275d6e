"""Training of stacked replicates: the loop, its tensors, optimizer, checkpoints and ranks."""
