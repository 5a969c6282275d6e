"""Training code of users: how one training of it is run, what it reports, what is wrong with it."""
