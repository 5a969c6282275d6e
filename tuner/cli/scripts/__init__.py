"""The commands about users' own training code, beside `tune`."""
