"""What data sets are read from: files and URIs of each format, and the shipped example."""
