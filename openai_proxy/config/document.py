"""A YAML text as checked nodes: no objects are made, no key counts twice, nothing expands."""

from __future__ import annotations

import re
from typing import Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from openai_proxy.config.problems import Place, Problem

MAX_NODES: Final = 100_000
"""Aliases counted as often as they are used: nine lines of them can stand for 10**9 nodes."""
MAX_DEPTH: Final = 32
MAX_BYTES: Final = 4 * 1024 * 1024

_PREFIX: Final = "tag:yaml.org,2002:"
_PLAIN_TAGS: Final = frozenset(
    _PREFIX + name for name in ("null", "bool", "int", "float", "str", "timestamp", "value", "seq", "map")
)
_TEXT_OF_FILE: Final = re.compile(r"'(?!<)[^']{2,}'")


def parse(content: bytes, problems: list[Problem]) -> MappingNode | None:
    """The root mapping of one YAML document; None if there is none to be read on.

    An empty document is an empty mapping. Every problem goes to ``problems``: what is no YAML, a second
    document, keys given twice or not plain, tags, ``<<``, nesting and size beyond the bounds.
    """
    if len(content) > MAX_BYTES:
        problems.append(Problem((), None, f"longer than {MAX_BYTES} bytes"))
        return None
    try:
        node = yaml.compose(content, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        problems.append(_not_yaml(error))
        return None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        # Their texts show what they met, which may be anything, keys included.
        problems.append(Problem((), None, f"not YAML ({type(error).__name__})"))
        return None
    except RecursionError:
        problems.append(Problem((), None, f"nested deeper than {MAX_DEPTH}"))
        return None
    if node is None or is_null(node):
        return MappingNode(_PREFIX + "map", [])
    if not isinstance(node, MappingNode):
        problems.append(Problem((), line_of(node), "a mapping of keys to values is wanted"))
        return None
    return node if _Checker(problems).check(node) else None


def line_of(node: Node) -> int | None:
    """Its first line, from 1."""
    return node.start_mark.line + 1 if node.start_mark is not None else None


def is_null(node: Node) -> bool:
    """Whether it is nothing, ``~`` or ``null``."""
    return bool(node.tag == _PREFIX + "null")


def _not_yaml(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    # What stands between quotes in a message may be a piece of the file.
    said = _TEXT_OF_FILE.sub("'...'", error.problem or error.context or "cannot be read")
    return Problem((), mark.line + 1 if mark is not None else None, f"not YAML: {said}")


class _Checker:
    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems
        self._seen = 0

    def check(self, root: Node) -> bool:
        """Whether the tree may be walked at all; smaller problems are told and leave it walkable."""
        return self._check(root, ())

    def _check(self, node: Node, place: Place) -> bool:
        self._seen += 1
        if self._seen > MAX_NODES:
            self._tell(node, (), f"more than {MAX_NODES} values, aliases counted as often as they are used")
            return False
        if len(place) > MAX_DEPTH:
            self._tell(node, place[:2], f"nested deeper than {MAX_DEPTH}")
            return False
        if node.tag not in _PLAIN_TAGS:
            self._tell(node, place, "tags are not taken")
        if isinstance(node, MappingNode):
            return self._check_mapping(node, place)
        if isinstance(node, SequenceNode):
            return all(self._check(value, (*place, number)) for number, value in enumerate(node.value))
        return True

    def _check_mapping(self, node: MappingNode, place: Place) -> bool:
        first: dict[str, int | None] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode) or key.tag not in (_PLAIN_TAGS | {_PREFIX + "merge"}):
                self._tell(key, place, "a key is plain text")
                continue
            name = key.value
            if key.tag == _PREFIX + "merge":
                self._tell(key, place, "merge keys (<<) are not taken: give the whole, or an alias")
            elif name in first:
                self._tell(key, (*place, name), f"given twice, first in line {first[name]}")
            first.setdefault(name, line_of(key))
            if not self._check(value, (*place, name)):
                return False
        return True

    def _tell(self, node: Node, place: Place, message: str) -> None:
        self._problems.append(Problem(place, line_of(node), message))
