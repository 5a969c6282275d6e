"""What past studies say of the λ-curve of a data set before any training of it."""
