"""How λ* is found: the search, the choice, the record of it, and the commands around it."""
