"""What the REST API answers, a subject a file."""
