"""How sure a gain over λ = 0 is, and what would make it surer."""
