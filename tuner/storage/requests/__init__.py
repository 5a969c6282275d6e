"""What users of a service asked for: submissions, how they are listed, run, shown and told of."""
