"""Tables, pictures and a page, made from records and from nothing else."""
