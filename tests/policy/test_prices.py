"""Which price a name has."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.policy.cost import Price
from openai_proxy.policy.prices import TABLE, Prices, PricesError

PRICES = Prices.load()

OWN = """
[[providers.openai.models]]
id = "gpt-4o"
price = {input = 2_000_000, output = 8_000_000}
tiers.priority = {input = 4_000_000, output = 16_000_000}

[[providers.openai.models]]
id = "ours"
match = ["Ours-*", "*-tuned", "a*b*c", '/^ft:gpt-\\d/']
price = {input = 1, output = 2}

[[providers.openai.models]]
id = "by-period"
price = {input = 1}
[[providers.openai.models.periods]]
from = 2027-01-01
price = {input = 2}
[[providers.openai.models.periods]]
daily = [22:00:00, 02:00:00]
price = {input = 3}
tiers.batch = {input = 4}

[providers.lab]
fallback = ["openai"]
[[providers.lab.models]]
id = "*"
match = ["local/*"]
price = {input = 0, output = 0}
"""


@pytest.fixture
def own(tmp_path: Path) -> Prices:
    """Prices with an operator's file."""
    path = tmp_path / "prices.toml"
    path.write_text(OWN)
    return Prices.load(path)


def at(text: str) -> float:
    """Seconds since 1970."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_the_table_says_where_it_is_from() -> None:
    """Source and date stand at its head."""
    assert "genai-prices" in PRICES.table.source
    assert PRICES.table.made is not None


@pytest.mark.parametrize(
    ("provider", "name", "model"),
    [
        ("openai", "gpt-4o", "gpt-4o"),
        ("openai", "GPT-4o", "gpt-4o"),
        ("openai", "gpt-4o-2024-08-06", "gpt-4o"),
        ("openai", "gpt-4o-20991231", "gpt-4o"),
        ("anthropic", "claude-opus-5@20991231", "claude-opus-5"),
        ("azure", "gpt-4o-2024-08-06", "gpt-4o"),
        ("vertex", "gemini-2.5-pro", "gemini-2.5-pro"),
        (
            "bedrock",
            "us.anthropic.claude-3-haiku-20240307-v1:0",
            "regional.anthropic.claude-3-haiku-20240307-v1:0",
        ),
        ("huggingface", "openai/gpt-oss-20b:groq", "openai/gpt-oss-20b:groq"),
        ("openai", "gpt-4o-2024-99-99", None),
        ("openai", "ft:gpt-4o:org::id", None),
        ("openai", "", None),
        ("openai", "\udcff*[", None),
        ("openai", "gpt-4o" * 100, None),
        ("nvidia", "gpt-4o", None),
        ("", "gpt-4o", None),
    ],
)
def test_names(provider: str, name: str, model: str | None) -> None:
    """Exact, dated, of a fallback; what is not known is None and not free."""
    found = PRICES.find(provider, name)
    assert (found.id if found else None) == model
    assert (PRICES.price_of(provider, name) is None) == (model is None)


@given(st.text(max_size=300), st.sampled_from([*PRICES.table.providers, "other"]))
def test_no_name_raises(name: str, provider: str) -> None:
    """Upstreams and clients choose the names: any text has a price or None."""
    assert isinstance(PRICES.price_of(provider, name, name), Price | None)


def test_what_is_remembered_is_bounded() -> None:
    """A hundred thousand names do not stay in memory."""
    prices = Prices.load()
    for number in range(5000):
        prices.find("groq", f"made-up-{number}")
    assert len(prices._found) <= 1024


def test_a_tier_has_its_own_price_or_the_standard_one() -> None:
    """By the tier that the answer names; a tier without a price is no reason to have none."""
    standard = PRICES.price_of("openai", "gpt-5.6-sol")
    flex = PRICES.price_of("openai", "gpt-5.6-sol", "flex")
    assert standard is not None
    assert standard.input is not None
    assert flex is not None
    assert flex.input is not None
    assert flex.input < standard.input
    for tier in (None, "default", "standard", "auto", "made up"):
        assert PRICES.price_of("openai", "gpt-5.6-sol", tier) is standard


@pytest.mark.parametrize(
    ("when", "tier", "price"),
    [
        (None, None, 1),
        ("2026-12-31 12:00", None, 1),
        ("2026-12-31 21:59:59", None, 1),
        ("2026-12-31 22:00", None, 3),
        ("2026-12-31 23:59:59.9", "batch", 4),
        ("2027-01-01 01:59:59", None, 3),
        ("2027-01-01 02:00", None, 2),
        ("2027-01-01 02:00", "batch", 2),
        ("2029-06-01 02:00", None, 2),
    ],
)
def test_periods(own: Prices, when: str | None, tier: str | None, price: int) -> None:
    """From a day on, and for hours of each day (UTC, over midnight too); the last that is on holds."""
    assert own.price_of("openai", "by-period", tier, at(when) if when else None) == Price(input=price)


@pytest.mark.parametrize(
    ("provider", "name", "price"),
    [
        ("openai", "gpt-4o", 2_000_000),
        ("openai", "gpt-4o-2024-08-06", 2_000_000),
        ("openai", "gpt-4o-2099-01-01", 2_000_000),
        ("azure", "gpt-4o-2024-08-06", 2_000_000),
        ("openai", "ours-anything", 1),
        ("openai", "x-tuned", 1),
        ("openai", "axbxc", 1),
        ("openai", "abc", 1),
        ("openai", "ft:gpt-4", 1),
        ("openai", "x-tuned-not", None),
        ("openai", "acb", None),
        ("lab", "local/llama", 0),
        ("lab", "gpt-4o", 2_000_000),
        ("lab", "other", None),
    ],
)
def test_an_operators_prices_come_first(own: Prices, provider: str, name: str, price: int | None) -> None:
    """His entries hold for their names, patterns and snapshots, and for all of the same id's names."""
    found = own.price_of(provider, name)
    assert (found.input if found else None) == price


def test_an_operators_entry_replaces_the_whole_of_ours(own: Prices) -> None:
    """Tiers too: those that he does not name are paid at his standard price."""
    assert own.price_of("openai", "gpt-4o", "priority") == Price(input=4_000_000, output=16_000_000)
    assert own.price_of("openai", "gpt-4o", "batch") == Price(input=2_000_000, output=8_000_000)


def test_what_an_operator_does_not_name_stays(own: Prices) -> None:
    """All other models keep the package's prices."""
    assert own.price_of("openai", "gpt-4.1") == PRICES.price_of("openai", "gpt-4.1")
    assert own.price_of("anthropic", "claude-opus-5") == PRICES.price_of("anthropic", "claude-opus-5")


def test_the_packages_own_table_is_a_valid_file() -> None:
    """An operator can copy the table and edit it: one form for both."""
    copied = Prices.load(TABLE)
    assert copied.price_of("azure", "gpt-4o") == PRICES.price_of("azure", "gpt-4o")


def test_every_problem_is_named_with_its_entry(tmp_path: Path) -> None:
    """An operator's mistakes are told all at once: file, provider, model, place."""
    path = tmp_path / "prices.json"
    models = [
        {"id": "a", "price": {"input": "2.50"}},
        {"id": "b", "price": {"inptu": 5}},
        {"id": "c", "price": {}},
        {"price": {"input": 5}},
        {"id": "e", "match": ["/(/"], "price": {"input": 5}},
        {"id": "f", "price": {"input": 5}},
        {"id": "f", "price": {"input": 5}},
        {"id": "g", "price": {"input": 5}, "tiers": {"flex": {"input": -5}}},
    ]
    path.write_text(json.dumps({"providers": {"openai": {"models": models}}}))
    with pytest.raises(PricesError) as caught:
        Prices.load(path)
    for problem, words in zip(
        caught.value.problems,
        [
            ("openai: model 'a'", "Expected `int", "$.price.input"),
            ("openai: model 'b'", "inptu", "$.price"),
            ("openai: model 'c'", "no rate at all", "$.price"),
            ("openai: model 4", "`id`"),
            ("openai: model 'e'", "missing )"),
            ("openai: model 'f'", "given twice"),
            ("openai: model 'g'", ">= 0", "$.tiers"),
        ],
        strict=True,
    ):
        assert all(word in problem for word in words), problem
    assert str(caught.value).count(str(path)) == len(caught.value.problems)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.json", "{"),
        ("p.json", "[]"),
        ("p.json", '{"providers": {"openai": {"modles": []}}}'),
        ("p.json", '{"providers": {"openai": []}}'),
        ("p.json", "\udcff"),
        ("p.toml", "a = = 1"),
        ("p.toml", "\udcff"),
        ("p.toml", "provider = 1"),
    ],
)
def test_a_file_of_another_form_is_named(tmp_path: Path, name: str, content: str) -> None:
    """What is no JSON or TOML, or no table, is one problem, with the file's name."""
    path = tmp_path / name
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(PricesError, match=name):
        Prices.load(path)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    """The caller tells the operator in its own words."""
    with pytest.raises(FileNotFoundError):
        Prices.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    "content",
    [
        b'{"providers":' + b"[" * 100_000,
        b'{"providers":{"p":{"models":[{"id":"m","price":{"input":1' + b"0" * 20 + b"}}]}}}",
    ],
)
def test_what_nobody_means_is_refused(tmp_path: Path, content: bytes) -> None:
    """Endless nesting, and a price that would make every number of the page infinite."""
    path = tmp_path / "prices.json"
    path.write_bytes(content)
    with pytest.raises(PricesError):
        Prices.load(path)
