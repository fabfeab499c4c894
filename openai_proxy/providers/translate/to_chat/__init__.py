"""Out comes OpenAI's dialect: chat completions."""
