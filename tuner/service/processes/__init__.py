"""What the service runs in processes of their own: checks, drivers, downloads."""
