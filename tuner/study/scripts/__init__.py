"""Studies of users' own training code: what is asked, scored and answered."""
