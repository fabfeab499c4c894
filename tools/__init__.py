"""Programs for those who work on openai_proxy; nothing here is installed."""
