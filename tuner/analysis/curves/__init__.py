"""The λ-curve: what trials saw, and the model of the gain along λ that is fitted to it."""
