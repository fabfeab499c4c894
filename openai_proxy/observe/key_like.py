"""What looks like a key: text of clients and upstreams that is neither shown nor logged."""

import re
from typing import Final

_KEY: Final = re.compile(
    r"(?:^|[^A-Za-z0-9])"
    r"(?:(?:sk|pk|rk|key|api[_-]?key|xai|pplx|nvapi|csk|glpat)-|(?:gsk|hf|r8|fw|tgp|ghp|github_pat)_"
    r"|bearer|(?-i:AIza|AKIA|ASIA|ya29\.|eyJ[\w-]+\.))",
    re.IGNORECASE,
)


def is_key_like(text: str) -> bool:
    """Whether a key may be in ``text``, by how providers' keys begin; ids do not begin so.

    OpenAI, Anthropic, OpenRouter, DeepSeek ``sk-``; xAI ``xai-``; Google ``AIza``; Groq ``gsk_``; Hugging
    Face ``hf_``; Perplexity ``pplx-``; Nvidia ``nvapi-``; Replicate ``r8_``; a token of RFC 7519 ``eyJ``. A
    key without such a beginning, as Azure's are, cannot be told from an id.
    """
    return _KEY.search(text) is not None
