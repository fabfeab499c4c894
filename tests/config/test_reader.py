"""Nodes to structs: values, bounds, names, places."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, field

from openai_proxy.config.document import parse
from openai_proxy.config.problems import Problem
from openai_proxy.config.reader import BAD, Reader, fields_of, wanted
from openai_proxy.config.secret import Secret
from openai_proxy.config.section import Broken, Section

Name = Annotated[str, Meta(pattern="^[a-z]+$", description="lower-case letters")]


class Inner(Section, frozen=True):
    """A section in a section."""

    number: Annotated[int, Meta(ge=1, le=9)] = 1
    ratio: Annotated[float, Meta(gt=0, le=1)] = 0.5
    place: Literal["header", "query"] = field(name="in", default="header")

    def rules(self) -> Any:
        if self.number == 7:
            broken: Broken = ("number", "not seven")
            yield broken
        if self.ratio == 0.7:
            yield "", "no section of seven"


@dataclasses.dataclass(frozen=True)
class Times:
    """A section of a floor that has dataclasses."""

    connect_seconds: Annotated[float, Meta(gt=0)] = 10.0


class Wanting(Section, frozen=True):
    """With a key that must be given."""

    target: str
    weight: int = 1


class Outer(Section, frozen=True):
    """All kinds of keys."""

    flag: bool = True
    text: str | None = None
    key: Secret | None = None
    inner: Inner = Inner()
    maybe: Inner | None = None
    times: Times = Times()
    words: tuple[Name, ...] = ()
    some: Annotated[tuple[Wanting, ...], Meta(min_length=1)] = (Wanting(target="a"),)
    named: dict[Name, Inner] = field(default_factory=dict)
    plain: dict[str, str] = field(default_factory=dict)


def secret(reference: str) -> Secret:
    """A stand-in for what reads references."""
    if reference != "env:A":
        raise ValueError("no such secret")
    return Secret("a", reference)


def read(text: str, base: Outer | None = None) -> tuple[Any, list[str]]:
    """What is made of a text, and the problems with their lines."""
    problems: list[Problem] = []
    root = parse(text.encode(), problems)
    assert root is not None
    value = Reader(problems, secret).read(root, Outer, base=base)
    return value, [f"{problem.line}: {problem}" for problem in problems]


def good(text: str, base: Outer | None = None) -> Outer:
    """What is made of a text that has no problem."""
    value, problems = read(text, base)
    assert problems == []
    assert isinstance(value, Outer)
    return value


def test_nothing_given_is_every_default() -> None:
    """Also where a section is named and has nothing in it."""
    assert good("") == Outer() == good("inner:\ntimes: ~\nnamed: {}\n")


def test_every_kind_of_value_is_read() -> None:
    """Scalars, sections of both kinds, lists and mappings."""
    value = good(
        "flag: false\ntext: 2024-10-21\nkey: env:A\ninner: {number: 3, ratio: 1, in: query}\n"
        "maybe: {}\ntimes: {connect_seconds: 2.5e+1}\nwords: [no, on]\n"
        "some: [{target: x}, {target: y, weight: 1_000}]\nnamed: {a: {number: 2}, b: }\nplain: {1.10: 1.10}\n"
    )
    assert value == Outer(
        flag=False,
        text="2024-10-21",
        key=Secret("a", "env:A"),
        inner=Inner(number=3, ratio=1.0, place="query"),
        maybe=Inner(),
        times=Times(25.0),
        words=("no", "on"),
        some=(Wanting(target="x"), Wanting(target="y", weight=1000)),
        named={"a": Inner(number=2), "b": Inner()},
        plain={"1.10": "1.10"},
    )
    assert isinstance(value.inner.ratio, float)


@pytest.mark.parametrize("value", ["yes", "on", "True", "1", '"true"', "~", "[]", "tru"])
def test_only_true_and_false_are_truths(value: str) -> None:
    """What another reader of YAML would take for one is told."""
    assert read(f"flag: {value}")[1] == ["1: flag: true or false is wanted"]


@pytest.mark.parametrize(
    "value", ["010", "0x10", "1:30", "1.0", "1e0", '"1"', "+1", "٣", "--", "_", "", "0", "10", "9" * 5000]
)
def test_numbers_are_plain_and_within_bounds(value: str) -> None:
    """The line says what is wanted, and not what was there."""
    assert read(f"inner:\n  number: {value}\n")[1] == [
        "2: inner.number: a whole number of at least 1 and not above 9 is wanted"
    ]


@pytest.mark.parametrize("value", ["nan", ".nan", "inf", ".inf", "-1", "0", "1.1", "soon", '"0.5"', "[0.5]"])
def test_fractions_are_finite_and_within_bounds(value: str) -> None:
    """No NaN, which is neither above nor below anything."""
    assert read(f"inner: {{ratio: {value}}}")[1] == [
        "1: inner.ratio: a number above 0 and not above 1 is wanted"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("flga: true", "1: flga: there is no such key; did you mean 'flag'?"),
        ("inner:\n  zzz: 1", "2: inner.zzz: there is no such key"),
        ("inner: {place: query}", "1: inner.place: there is no such key"),
        ("times: {conect: 1}", "1: times.conect: there is no such key"),
        ("inner: {in: haeder}", "1: inner.in: header or query is wanted; did you mean 'header'?"),
        ("inner: 3", "1: inner: a mapping of keys to values is wanted"),
        ("maybe: []", "1: maybe: a mapping of keys to values is wanted"),
        ("words: a", "1: words: a list (of text (lower-case letters)) is wanted"),
        ("words: [a, B, c]", "1: words[1]: text (lower-case letters) is wanted"),
        ("some: []", "1: some: at least one is wanted"),
        ("some:\n- target: a\n- weight: 2", "3: some[1].target: is wanted"),
        ("some: [{target: }]", "1: some[0].target: text is wanted"),
        ("named: {A: {}}", "1: named.A: not a name for this: text (lower-case letters) is wanted"),
        ("named: []", "1: named: a mapping of keys to values is wanted"),
        ("plain: {a: [b]}", "1: plain.a: text is wanted"),
        ("plain: {a: ~}", "1: plain.a: text is wanted"),
        ("text: {a: b}", "1: text: text is wanted"),
        ("key: env:B", "1: key: no such secret"),
        ("key: [env:A]", "1: key: a reference to a secret is wanted"),
        ("inner: {number: 7}", "1: inner.number: not seven"),
        ("inner:\n  ratio: 0.7", "1: inner: no section of seven"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_line_place_and_what_is_meant(text: str, problem: str) -> None:
    """One problem is one line."""
    assert read(text)[1] == [problem]


def test_all_problems_are_told_not_the_first() -> None:
    """And what is right beside them is there, so that the checks behind can go on."""
    value, problems = read(
        "flag: 3\ninner: {number: 0, ratio: 9}\nnamed: {a: {number: 99}, b: {number: 2}}\nx: 1\n"
    )
    assert len(problems) == 5
    assert isinstance(value, Outer)
    assert value.named["b"] == Inner(number=2)


def test_rules_of_a_section_wait_until_its_values_are_right() -> None:
    """A default in the place of a wrong value would break rules that nobody broke."""
    assert read("inner: {number: 7, ratio: 9}")[1] == [
        "1: inner.ratio: a number above 0 and not above 1 is wanted"
    ]


def test_what_is_given_is_laid_over_a_base_member_by_member() -> None:
    """Sections in it too; lists and mappings are replaced whole, and null takes away what may be missing."""
    base = Outer(
        flag=False,
        text="base",
        inner=Inner(number=5, ratio=0.25),
        words=("a", "b"),
        plain={"a": "1", "b": "2"},
        maybe=Inner(number=4),
    )
    over = good("inner: {ratio: 1}\nwords: [c]\nplain: {a: 3}\ntext: null\nmaybe: {in: query}\n", base)
    assert over == Outer(
        flag=False,
        text=None,
        inner=Inner(number=5, ratio=1.0),
        words=("c",),
        plain={"a": "3"},
        maybe=Inner(number=4, place="query"),
    )
    assert good("", base) == base


def test_a_wanted_key_that_is_missing_leaves_no_half_made_section() -> None:
    """The caller is told that there is none."""
    problems: list[Problem] = []
    root = parse(b"weight: 1", problems)
    assert root is not None
    assert Reader(problems, secret).read(root, Wanting) is BAD
    assert [str(problem) for problem in problems] == ["target: is wanted"]


def test_the_places_that_were_given_are_known() -> None:
    """With the line of the key, and apart from what only has a default."""
    problems: list[Problem] = []
    root = parse(b"inner:\n  number: 99\nnamed:\n  a:\n    number: 1\n", problems)
    assert root is not None
    reader = Reader(problems, secret)
    reader.read(root, Outer)
    assert reader.lines[("inner",)] == 1
    assert reader.lines[("named", "a")] == 4
    assert reader.keys_at(("named",)) == ("a",)
    assert reader.keys_at(()) == ("inner", "named")
    assert not reader.is_clean(("inner",))
    assert reader.is_clean(("named",))


def test_fields_are_those_of_the_file() -> None:
    """A key that Python cannot call so has its own name."""
    assert [(one.name, one.key) for one in fields_of(Inner)] == [
        ("number", "number"),
        ("ratio", "ratio"),
        ("place", "in"),
    ]
    assert wanted(Annotated[float, Meta(ge=0.5, lt=1)]) == "a number of at least 0.5 and below 1"


SCALARS = st.sampled_from(
    ["", "~", "true", "1", "0.5", "a", "-1", ".inf", "env:A", "'x'", "header", "2024-10-21"]
)
KEYS = st.sampled_from([one.key for one in (*fields_of(Outer), *fields_of(Inner))] + ["zzz", "~", "1"])
TREES: Any = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda values: f"[{', '.join(v or '~' for v in values)}]")
        | st.dictionaries(KEYS, inner, max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs.items()) + "}"
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, TREES, max_size=5))
def test_any_tree_is_a_value_or_problems(tree: dict[str, str]) -> None:
    """Never an exception, never a value of another type, and no problem without its place."""
    problems: list[Problem] = []
    root = parse("\n".join(f"{key}: {value}" for key, value in tree.items()).encode(), problems)
    assert root is not None
    value = Reader(problems, secret).read(root, Outer)
    assert isinstance(value, Outer)
    assert all(problem.line for problem in problems)
    for field_ in fields_of(Outer):
        assert getattr(value, field_.name) is not BAD
