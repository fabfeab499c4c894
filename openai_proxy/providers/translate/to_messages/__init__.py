"""Out comes Anthropic's dialect: Messages."""
