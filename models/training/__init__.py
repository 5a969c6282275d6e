"""Training of stacked replicates: the loop, its tensors, optimizer and checkpoints."""
