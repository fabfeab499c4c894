"""YAML to nodes: what is refused, and that nothing in it can hurt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yaml.nodes import MappingNode

from openai_proxy.config.document import MAX_BYTES, parse
from openai_proxy.config.problems import Problem


def problems_of(content: bytes | str) -> list[str]:
    """What is told of a text, with the lines."""
    problems: list[Problem] = []
    parse(content.encode() if isinstance(content, str) else content, problems)
    return [f"{problem.line}: {problem}" for problem in problems]


@pytest.mark.parametrize("content", ["", "# nothing\n", "---\n", "null\n", "{}"])
def test_nothing_is_an_empty_mapping(content: str) -> None:
    """A file of comments alone is a file with every default."""
    problems: list[Problem] = []
    root = parse(content.encode(), problems)
    assert isinstance(root, MappingNode)
    assert (root.value, problems) == ([], [])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("- a\n- b\n", "1: a mapping of keys to values is wanted"),
        ("text", "1: a mapping of keys to values is wanted"),
        ("a: 1\nb: 2\na: 3\n", "3: a: given twice, first in line 1"),
        ("a:\n  b: 1\n  b: 2\n", "3: a.b: given twice, first in line 2"),
        ("a: !!python/object/apply:os.system [echo]\n", "1: a: tags are not taken"),
        ("a: !mine b\n", "1: a: tags are not taken"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "3: c: merge keys (<<) are not taken: give the whole, or an alias"),
        ("? [a, b]\n: c\n", "1: a key is plain text"),
        ("a: 1\n---\nb: 2\n", "2: not YAML: but found another document"),
    ],
)
def test_what_is_not_plain_is_told_with_its_line(content: str, problem: str) -> None:
    """Two readers could understand it in two ways."""
    assert problems_of(content) == [problem]


def test_all_problems_are_told_at_once() -> None:
    """One run shows what is to be mended."""
    assert len(problems_of("a: 1\na: 2\nb: !x 1\nc: {<<: {d: 1}}\n")) == 3


def test_an_alias_is_what_it_stands_for() -> None:
    """They are how one block is said once."""
    assert problems_of("a: &x {b: 1}\nc: *x\n") == []


def test_aliases_of_aliases_do_not_expand() -> None:
    """A billion nodes in nine lines end at the bound, and soon."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "more than 100000 values" in problems_of("\n".join(lines))[-1]


def test_an_alias_of_what_it_is_in_ends() -> None:
    """A ring has no bottom; the depth has a bound."""
    assert "nested deeper than" in problems_of("a: &x\n  b: *x\n")[-1]


@pytest.mark.parametrize(
    "content", ["a: " + "[" * 10_000, "a: " + "{a: " * 10_000, "\n".join(" " * n + "a:" for n in range(500))]
)
def test_depth_is_bounded(content: str) -> None:
    """No RecursionError gets out."""
    assert problems_of(content)


def test_length_is_bounded() -> None:
    """A wrong path to a large file does not fill memory with nodes."""
    assert problems_of(b"#" * (MAX_BYTES + 1)) == [f"None: longer than {MAX_BYTES} bytes"]


@pytest.mark.parametrize(
    "content",
    [
        "a: sk-canary: b",
        "a: *sk-canary",
        "a: 'sk-canary",
        'a: "\\sk-canary"',
        "%YAML canary\n---\n",
        "a: !<sk-canary",
        "\tsk-canary: {",
    ],
)
def test_what_is_no_yaml_is_not_repeated(content: str) -> None:
    """The broken line may have a key in it."""
    said = problems_of(content)
    assert said
    assert not any("canary" in problem for problem in said)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"\x80", b"a: \x00", b"\xef\xbb\xbfa: 1\n", b"a: \xed\xa0\x80"]
)
def test_bytes_that_are_no_text_are_told(content: bytes) -> None:
    """Whatever the file is, what comes out is a list of problems or nodes."""
    problems: list[Problem] = []
    assert (parse(content, problems) is None) == bool(problems)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_nodes_or_problems(content: bytes) -> None:
    """Never an exception."""
    problems: list[Problem] = []
    root = parse(content, problems)
    assert root is not None or problems
