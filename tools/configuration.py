"""Writes the tables of docs/configuration.md: the keys from the schema, the catalogue from its data.

What stands outside of the marks is written by hand.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args, get_origin

import msgspec

from openai_proxy.config.file import File
from openai_proxy.config.provider import Provider
from openai_proxy.config.reader import WANTED, Field, fields_of, is_section, plain, wanted
from openai_proxy.providers.catalogue import read_catalogue

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
EACH = "*"
"""In place of a name, or of a list entry's number."""

Path_ = tuple[str, ...]


def below(annotation: Any) -> tuple[Path_, Any]:
    """What has keys of its own in a type, and the way to it: through names and numbers."""
    kind = plain(annotation)
    if get_origin(kind) in (dict, tuple):
        item = get_args(kind)[1] if get_origin(kind) is dict else get_args(kind)[0]
        way, inner = below(item)
        return (EACH, *way), inner
    return (), kind if is_section(kind) else None


def sections(kind: type, way: Path_ = ()) -> Iterator[tuple[Path_, type]]:
    """A section and all that are in it, each with its way, outer ones first."""
    yield way, kind
    for field in fields_of(kind):
        more, inner = below(field.type)
        if inner is not None:
            yield from sections(inner, (*way, field.key, *more))


def keys(kind: type) -> Iterator[Path_]:
    """Every key of a file."""
    for way, section in sections(kind):
        yield from ((*way, field.key) for field in fields_of(section))


@cache
def texts(section: type) -> dict[str, str]:
    """What stands below each field of a class."""
    (body,) = ast.parse(dedent(inspect.getsource(section))).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name):
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found[before.target.id] = " ".join(str(after.value.value).split())
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`")


def _default(field: Field) -> str:
    if field.default is WANTED:
        return "wanted"
    if field.default is None or below(field.type)[1] is not None or field.default in ((), {}):
        return ""
    return f"`{json.dumps(field.default)}`"


def _row(way: Path_, section: type, field: Field) -> str:
    more, inner = below(field.type)
    value = f"[a section](#{_anchor((*way, field.key, *more))})" if inner else _cell(wanted(field.type))
    text = _cell(texts(section).get(field.name, ""))
    return f"| `{field.key}` | {value} | {_default(field)} | {text} |"


def _title(way: Path_) -> str:
    return ".".join(way) or "The top"


def _anchor(way: Path_) -> str:
    return re.sub(r"[^\w\- ]", "", _title(way).lower()).replace(" ", "-")


def key_tables() -> str:
    """A table for each section."""
    parts = []
    for way, section in sections(File):
        rows = [_row(way, section, field) for field in fields_of(section)]
        head = f"### {_title(way)}\n\n{(inspect.getdoc(section) or '').split(chr(10) * 2)[0]}\n"
        parts.append("\n".join([head, "| key | value | default | |", "|---|---|---|---|", *rows]))
    return "\n\n".join(parts)


def _differences(provider: Provider) -> Iterator[str]:
    """How one differs from what needs no word, as it stands in the catalogue."""
    said = msgspec.to_builtins(provider)
    quirks = said.pop("quirks", {})
    for key, value in {**said, **quirks}.items():
        if key in ("base_url", "path_prefix", "credential", "dialect"):
            continue
        text = ", ".join(value) if isinstance(value, list | tuple | dict) else value
        yield f"`{key}`" if value is True or key == "model_paths" else f"`{key}`: {text}"


def _credential(provider: Provider) -> str:
    form = provider.credential
    return f"`{form.name}: {form.prefix}...`" if form.place == "header" else f"`?{form.name}=...`"


def _quoted(text: str | None) -> str:
    return f"`{text}`" if text else ""


def catalogue_table() -> str:
    """A row for each provider that is known."""
    rows = [
        f"| `{name}` | `{one.base_url}` | {_quoted(one.path_prefix)} | {_credential(one)} | {one.dialect} "
        f"| {_cell('; '.join(_differences(one)))} |"
        for name, one in read_catalogue().items()
    ]
    head = ["| name | base_url | path_prefix | key | dialect | besides |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def _between(page: str, mark: str, text: str) -> str:
    begin, end = f"<!-- {mark}: made by `make configuration` -->", f"<!-- end of {mark} -->"
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{PAGE} has no {begin} ... {end}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def page(old: str) -> str:
    """The page with its tables written anew."""
    return _between(_between(old, "keys", key_tables()), "catalogue", catalogue_table())


def main(arguments: Iterable[str] | None = None) -> None:
    """Write the page."""
    argparse.ArgumentParser(description=__doc__).parse_args(None if arguments is None else list(arguments))
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
