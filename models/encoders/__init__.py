"""What encodes a modality: each kind, replicated or stacked, and their pair."""
