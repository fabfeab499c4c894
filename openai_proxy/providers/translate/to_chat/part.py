"""OpenAI's content parts out of Anthropic's blocks."""

from __future__ import annotations

from typing import Final

from openai_proxy.providers.translate.dropped import Dropped
from openai_proxy.providers.translate.member import Json, as_list, as_name, as_object, as_text
from openai_proxy.providers.translate.untranslatable import Untranslatable

_ID_OF_FILE: Final = "ids of files are not known to this model's provider"


def text_part(text: str) -> Json:
    """Plain text."""
    return {"type": "text", "text": text}


def content_blocks(content: object, param: str) -> list[Json]:
    """A ``content``: a string stands for one block of text."""
    if content is None:
        return []
    if isinstance(content, str):
        return [text_part(content)] if content else []
    return [as_object(one, f"{param}[{place}]") for place, one in enumerate(as_list(content, param))]


def text_of(block: Json, param: str) -> str:
    """The text of a text block."""
    return as_text(block.get("text"), f"{param}.text")


def joined_text(content: object, param: str) -> str:
    """Of a content that is text only; its blocks are paragraphs."""
    texts = []
    for place, block in enumerate(content_blocks(content, param)):
        if block.get("type") != "text":
            at = f"{param}[{place}].type"
            raise Untranslatable(f"Invalid '{at}': only text is taken here.", at)
        texts.append(text_of(block, f"{param}[{place}]"))
    return "\n\n".join(texts)


def part(block: Json, param: str, dropped: Dropped) -> list[Json]:
    """The parts that a user's block becomes; none for what is dropped."""
    kind = block.get("type")
    if kind == "text":
        text = text_of(block, param)
        return [text_part(text)] if text else []
    if kind == "image":
        return [_image(as_object(block.get("source"), f"{param}.source"), f"{param}.source")]
    if kind == "document":
        if block.get("citations"):
            dropped.add("citations")
        return _document(block, param, dropped)
    if kind == "search_result":
        head = f"{block.get('title') or ''}\n{block.get('source') or ''}\n"
        return [text_part(head + joined_text(block.get("content"), f"{param}.content"))]
    if isinstance(kind, str) and (kind.endswith("_tool_result") or kind in _OF_SERVER):
        dropped.add("server_tool_block")
        return []
    raise Untranslatable(f"Invalid '{param}.type': the model takes no such content.", f"{param}.type")


_OF_SERVER: Final = ("server_tool_use", "tool_reference", "browser_state", "container_upload")


def _image(source: Json, param: str) -> Json:
    kind = source.get("type")
    if kind == "url":
        url = as_name(source.get("url"), f"{param}.url")
    elif kind == "base64":
        media_type = as_name(source.get("media_type"), f"{param}.media_type")
        url = f"data:{media_type};base64,{as_name(source.get('data'), f'{param}.data')}"
    else:
        raise Untranslatable(f"Invalid '{param}.type': {_ID_OF_FILE}.", f"{param}.type")
    return {"type": "image_url", "image_url": {"url": url}}


def _document(block: Json, param: str, dropped: Dropped) -> list[Json]:
    source = as_object(block.get("source"), f"{param}.source")
    title = block.get("title")
    at = f"{param}.source"
    kind = source.get("type")
    if kind == "text":
        text = as_text(source.get("data"), f"{at}.data")
        return [text_part(f"{title}\n\n{text}" if isinstance(title, str) and title else text)]
    if kind == "content":
        inner = content_blocks(source.get("content"), f"{at}.content")
        return [made for one in inner for made in part(one, f"{at}.content", dropped)]
    if kind == "base64":
        data = as_name(source.get("data"), f"{at}.data")
        name = title if isinstance(title, str) and title else "document.pdf"
        file = {"filename": name, "file_data": f"data:application/pdf;base64,{data}"}
        return [{"type": "file", "file": file}]
    if kind == "url":
        raise Untranslatable(f"Invalid '{at}.type': documents must be given by their data.", f"{at}.type")
    raise Untranslatable(f"Invalid '{at}.type': {_ID_OF_FILE}.", f"{at}.type")
