"""One request's life, from its head to its record."""
