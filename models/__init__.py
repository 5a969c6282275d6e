"""What is trained: encoder pairs, the alignment loss, training of stacked replicates, metrics.

Import from the submodules: `models.config` and `models.metrics` do not load torch.
"""
