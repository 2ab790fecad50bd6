"""A run: a request becomes a plan, what is missing is prepared, each cell becomes a record."""
