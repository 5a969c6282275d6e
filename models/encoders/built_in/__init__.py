"""The encoders that come with the program, over stacked replicates."""
