"""What is asked and answered: frozen values that know nothing of how they come about."""
