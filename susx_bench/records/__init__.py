"""Records: what went into a number and what came out, as files."""
