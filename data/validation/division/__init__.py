"""Which rows belong together, and which part of a study each serves."""
