"""What is submitted: received, checked, kept and written down."""
