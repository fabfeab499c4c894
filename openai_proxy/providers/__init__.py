"""One provider or dialect per file, the built-in mock among them."""
