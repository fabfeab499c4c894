"""The built-in mock provider: answers as OpenAI does, with no key and no network."""
