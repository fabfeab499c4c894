"""A transparent, observable proxy daemon between applications and OpenAI-like providers."""

__version__ = "0.1.0"
