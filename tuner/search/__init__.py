"""Which trials to train next, as a pure function of the spec and of the finished trials."""
