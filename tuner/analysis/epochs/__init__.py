"""What the epochs of a training say: whose weights an answer rests on, and if they were enough."""
