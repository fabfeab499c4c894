"""Anthropic's content blocks out of OpenAI's content parts."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Any, Final

from openai_proxy.providers.translate.member import Json, as_list, as_name, as_object, as_text, wrong_type
from openai_proxy.providers.translate.untranslatable import Untranslatable

_DATA_URL: Final = re.compile(r"data:([^;,]*)((?:;[^;,]*)*?)(;base64)?,", re.IGNORECASE)
_PDF: Final = "application/pdf"
_TTLS: Final = {"30m": "1h", "1h": "1h", "12h": "1h", "5m": "5m"}
"""Anthropic keeps a prefix for five minutes or an hour: the shortest that is long enough, or the longest."""


def cache_control_of(part: Json, param: str) -> Json | None:
    """The breakpoint after a part, in Anthropic's words or in OpenAI's."""
    control = part.get("cache_control")
    if control is not None:
        return as_object(control, f"{param}.cache_control")
    breakpoint_ = part.get("prompt_cache_breakpoint")
    if breakpoint_ is None:
        return None
    ttl = _TTLS.get(str(as_object(breakpoint_, f"{param}.prompt_cache_breakpoint").get("ttl")))
    return {"type": "ephemeral"} if ttl is None else {"type": "ephemeral", "ttl": ttl}


def text_block(text: str) -> Json:
    """Plain text."""
    return {"type": "text", "text": text}


def is_said(text: str) -> bool:
    """Whether it may be a block: Anthropic refuses one that is empty or only white space."""
    return bool(text) and not text.isspace()


def text_blocks(content: object, param: str) -> list[Json]:
    """Of a message that has only text: a string, parts, or null; empty texts have no block."""
    return [block for block in blocks(content, param, text_only=True) if block["type"] == "text"]


def blocks(content: object, param: str, text_only: bool = False) -> list[Json]:
    """A message's ``content``. Texts of nothing or white space have no block.

    :param text_only: refuse all that is not text.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [text_block(content)] if is_said(content) else []
    if not isinstance(content, list):
        raise wrong_type(content, "a string or an array", param)
    made = []
    for place, part in enumerate(content):
        at = f"{param}[{place}]"
        block = _block(as_object(part, at), at, text_only)
        if block is None:
            continue
        control = cache_control_of(part, at)
        made.append(block if control is None else block | {"cache_control": control})
    return made


def _block(part: Json, param: str, text_only: bool) -> Json | None:
    kind = part.get("type")
    if kind == "text" or kind == "refusal":
        text = as_text(part.get(kind), f"{param}.{kind}")
        return text_block(text) if is_said(text) else None
    if text_only:
        raise Untranslatable(f"Invalid '{param}.type': only text is taken here.", f"{param}.type")
    if kind == "image_url":
        return _image(part, param)
    if kind == "file":
        return _file(as_object(part.get("file"), f"{param}.file"), f"{param}.file")
    raise Untranslatable(
        f"Invalid '{param}.type': the model takes text, images and files, not this kind of content.",
        f"{param}.type",
    )


def _image(part: Json, param: str) -> Json:
    image = part.get("image_url")
    param = f"{param}.image_url"
    # A bare string is what some clients send.
    url = as_name(image if isinstance(image, str) else as_object(image, param).get("url"), f"{param}.url")
    if url[:5].lower() == "data:":
        return _data(url, f"{param}.url")
    if url[:8].lower() == "https://" or url[:7].lower() == "http://":
        return {"type": "image", "source": {"type": "url", "url": url}}
    raise Untranslatable(f"Invalid '{param}.url': expected an http(s) or a data URL.", f"{param}.url")


def _data(url: str, param: str, title: str | None = None) -> Json:
    match = _DATA_URL.match(url)
    if match is None or match[3] is None:
        raise Untranslatable(f"Invalid '{param}': expected a data URL in base64.", param)
    media_type, data = match[1].lower(), url[match.end() :]
    if media_type.startswith("image/"):
        media_type = "image/jpeg" if media_type == "image/jpg" else media_type
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
    block: Json
    if media_type == _PDF:
        block = {"type": "document", "source": {"type": "base64", "media_type": _PDF, "data": data}}
    elif media_type.startswith("text/"):
        source = {"type": "text", "media_type": "text/plain", "data": _plain(data, param)}
        block = {"type": "document", "source": source}
    else:
        raise Untranslatable(f"Invalid '{param}': only images, PDF and text are taken.", param)
    return block if title is None else block | {"title": title}


def _plain(data: str, param: str) -> str:
    try:
        return b64decode(data).decode()
    except (Base64Error, ValueError):
        raise Untranslatable(f"Invalid '{param}': expected UTF-8 text in base64.", param) from None


def _file(file: Json, param: str) -> Json:
    if file.get("file_data") is None:
        raise Untranslatable(
            f"Invalid '{param}': a file must be given by 'file_data', for ids hold at one provider only.",
            f"{param}.file_id",
        )
    data = as_name(file["file_data"], f"{param}.file_data")
    name = file.get("filename")
    title = as_text(name, f"{param}.filename") if name else None
    # Without a head it is a PDF: what OpenAI takes.
    url = data if data[:5].lower() == "data:" else f"data:{_PDF};base64,{data}"
    return _data(url, f"{param}.file_data", title)


def thinking_blocks(message: Json, param: str) -> list[Json]:
    """What an earlier answer of ours gave to be sent back, as it was; what has no signature is left out."""
    listed = message.get("thinking_blocks")
    if listed is None:
        return []
    param = f"{param}.thinking_blocks"
    made = (_thinking(as_object(block, f"{param}[]")) for block in as_list(listed, param))
    return [block for block in made if block is not None]


def _thinking(block: dict[str, Any]) -> Json | None:
    if block.get("type") == "redacted_thinking" and isinstance(block.get("data"), str):
        return {"type": "redacted_thinking", "data": block["data"]}
    signature, thinking = block.get("signature"), block.get("thinking")
    if block.get("type") == "thinking" and signature and isinstance(signature, str):
        text = thinking if isinstance(thinking, str) else ""
        return {"type": "thinking", "thinking": text, "signature": signature}
    return None
