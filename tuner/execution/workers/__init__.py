"""What runs on a worker: one trial, its processes, its rows, and how far it is."""
