"""Settings: frozen values that every other floor is given."""
