"""The one process that works on a study, for each kind of study."""
