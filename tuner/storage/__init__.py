"""The one truth: studies, trials, users and submissions in a database. Alone speaks SQL."""
