"""What clients see: the resource tree, health, error bodies."""
