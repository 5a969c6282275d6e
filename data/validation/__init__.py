"""From arrays to a checked data set: roles, features, labels, rows, splits, fingerprint."""
