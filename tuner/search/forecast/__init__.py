"""What a study would take and show, before it is paid for."""
