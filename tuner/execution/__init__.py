"""Where trials are trained: Ray Tune workers and what reaches them."""
