"""What is trained: encoder pairs, the alignment loss, training of stacked replicates, metrics.

Import from the submodules: `tuner.models.config` and `tuner.models.evaluation.metrics` do not load
torch.
"""
