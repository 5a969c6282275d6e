"""What the labels say: which are missing, what they ask for, and what is doubtful in them."""
