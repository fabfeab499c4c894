"""What the documents say is what the code does: tables, names, defaults, links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from openai_proxy.config.configuration import load
from openai_proxy.config.file import File, Observing
from openai_proxy.config.reader import Reader
from openai_proxy.config.report import circuits, report, targets
from openai_proxy.config.routing import Breaker, Hedge, Retry
from openai_proxy.config.secret import SecretReader
from openai_proxy.config.settings import LIMIT_FIELDS, Limits, PoolLimits, Settings, Timeouts
from openai_proxy.observe import buckets
from openai_proxy.observe.access_log import Line
from openai_proxy.observe.circuits import ANY_MODEL, MOST_TARGETS, STATES
from openai_proxy.observe.endpoint import _BY_PREFIX, ENDPOINTS, OTHER
from openai_proxy.observe.errors import CODES, TYPES
from openai_proxy.observe.expected_series import expected_series
from openai_proxy.observe.families import EXEMPLAR_ID_CHARACTERS, Family, HistogramFamily, Parent
from openai_proxy.observe.metrics import MAIN_ENDPOINTS, Metrics, new_registry
from openai_proxy.observe.model import KNOWN, NONE
from openai_proxy.observe.operating import RESULTS
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.process import LOG_LEVELS
from openai_proxy.observe.rate_limits import FORGET_SECONDS, MOST_PAIRS
from openai_proxy.observe.record import SLOW_SECONDS, AttemptResult, DisconnectPhase, ErrorSource
from openai_proxy.observe.routing_metrics import FALLBACK_REASONS, HEDGE_RESULTS, RETRY_REASONS
from openai_proxy.observe.trace_metrics import EXPORT_RESULTS
from openai_proxy.observe.upstream import CONNECT_RESULTS, STALE_CONNECTION
from openai_proxy.observe.usage import UsageMissing
from openai_proxy.policy.cost import Price, Rates
from openai_proxy.policy.prices import Prices
from openai_proxy.providers.catalogue import read_catalogue
from openai_proxy.providers.mock.knobs import MAX_CHUNKS, MAX_DELAY_MS, Fault
from openai_proxy.relay.failures import _BY_ERROR, HELD_BODIES_FULL, PROXY_FAILED
from openai_proxy.tap import Options
from tests.support.exported import registries
from tools import configuration

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *(ROOT / "docs").glob("*.md"),
]
UNITS = {"": 1, "KiB": 1024, "MiB": 1024 * 1024}


def section(name: str, heading: str) -> str:
    """What stands below a heading, to the next one of its level or above."""
    text = (ROOT / name).read_text()
    level = heading.index(" ")
    return re.split(rf"^#{{1,{level}}} ", text.split(f"\n{heading}\n", 1)[1], flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of all tables in ``text``, without heads and their lines."""
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    lines = chain.from_iterable(table.splitlines()[2:] for table in tables)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def headed_rows(text: str) -> list[dict[str, str]]:
    """The cells of all tables in ``text``, each by the head of its column."""
    found = []
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        heads = [cell.strip() for cell in table.splitlines()[0].split("|")[1:-1]]
        found += [dict(zip(heads, row, strict=True)) for row in rows(table)]
    return found


def quoted(text: str) -> list[str]:
    """What stands between backquotes."""
    return re.findall(r"`([^`]+)`", text)


def number(text: str) -> float:
    """``64 KiB`` as 65536."""
    digits, _, unit = text.partition(" ")
    return float(digits) * UNITS[unit]


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    """The file is there, and has the heading."""
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in map(slug, headings), link


def test_readme_has_every_option() -> None:
    """Long name, short name and default, as twistd knows them."""
    parameters: list[Any] = list(Options.optParameters)
    parameters += [[name, short, None, text] for name, short, text in Options.optFlags]
    others = {name.removeprefix("opt_") for name in vars(Options) if name.startswith("opt_")}
    parameters += [[name, None, None, ""] for name in others]
    expected = {
        f"--{name}": ([f"-{short}"] if short else [], default) for name, short, default, _ in parameters
    }
    said = {}
    for option, default, _ in rows(section("README.md", "## Run it")):
        name, *short = quoted(option)
        said[name] = (short, "".join(quoted(default)) or None)
    assert said == expected


def test_readme_has_every_knob_of_the_mock() -> None:
    """Each header with its bounds, and each fault."""
    said: dict[str, list[str]] = {}
    header = ""
    for name, value, _ in rows(section("README.md", "## The mock's knobs")):
        header = (quoted(name) or [header])[0]
        said.setdefault(header, []).append(value)
    assert said == {
        "x-mock-delay-ms": [f"0 to {MAX_DELAY_MS}"],
        "x-mock-chunk-ms": [f"0 to {MAX_DELAY_MS}"],
        "x-mock-chunks": [f"0 to {MAX_CHUNKS}"],
        "x-mock-status": ["200 to 599"],
        "x-mock-fault": [f"`{fault.value.decode()}`" for fault in Fault],
        "x-mock-gzip": ["0 to 1"],
    }
    knobs = (ROOT / "openai_proxy/providers/mock/knobs.py").read_text()
    assert set(re.findall(r'"(x-mock-[a-z-]+)"', knobs)) == set(said)
    assert '"x-mock-status", 200, 599' in knobs


def test_architecture_has_every_limit_with_its_default() -> None:
    """Each setting, and each constant that is named."""
    table = {
        quoted(row[0])[0]: number(row[1]) for row in rows(section("docs/architecture.md", "## Every limit"))
    }
    constants = {name: table.pop(name) for name in list(table) if "." in name}
    settings = Settings()
    timeouts = settings.timeouts
    expected = {
        "--connect-timeout": timeouts.connect_seconds,
        "--head-timeout": timeouts.head_seconds,
        "--idle-timeout": timeouts.idle_seconds,
    }
    for name, (part, field, _) in LIMIT_FIELDS.items():
        expected[name] = getattr(getattr(settings, part), field)
    assert table == expected
    for name, value in constants.items():
        module, _, constant = name.rpartition(".")
        assert getattr(import_module(f"openai_proxy.{module}"), constant) == value, name


def test_configuration_has_every_key_and_provider() -> None:
    """`make configuration` would change nothing."""
    assert configuration.page(configuration.PAGE.read_text()) == configuration.PAGE.read_text()
    # An empty cell would be a key that nobody has explained; limits are explained in architecture.md.
    explained = [row for row in rows(section("docs/configuration.md", "## Keys")) if not row[3]]
    assert {quoted(row[0])[0] for row in explained} <= LIMIT_FIELDS.keys() | {"connections"}


def test_the_example_has_every_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once at least, and all of it is right; where no word says otherwise, it is the default."""
    read: list[Reader] = []
    making = Reader.__init__

    def remember(self: Reader, *arguments: Any) -> None:
        making(self, *arguments)
        read.append(self)

    monkeypatch.setattr(Reader, "__init__", remember)
    environment = {f"{name}_API_KEY": "k" for name in ("OPENAI", "AZURE", "ANTHROPIC", "EXAMPLE")}
    environment["OPENAI_PROXY_ADMIN_TOKEN"] = environment["TRACES_KEY"] = "k"
    example = load(ROOT / "etc/openai-proxy.yaml", read_catalogue(), SecretReader(environment))
    lines = read[-1].lines
    known = set(configuration.keys(File))
    given = {key for place in lines for key in known if _is_at(key, place)}
    assert known - given == set()
    file = example.file
    assert (file.timeouts, file.limits, file.pool) == (Timeouts(), Limits(), PoolLimits())
    assert (file.retry, file.breaker, file.hedge) == (Retry(), Breaker(), Hedge())
    assert (file.observation, file.mock) == (Observing(), True)


def test_configuration_shows_what_check_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the file above it, to the last number."""
    text = (ROOT / "docs/configuration.md").read_text().split("\n## The form\n")[0]
    (file,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    shown = re.findall(r"```\n(.*?)```", text.partition("it says")[2], re.DOTALL)[0]
    (tmp_path / "proxy.yaml").write_text(file)
    monkeypatch.chdir(tmp_path)
    environment = {name: "k" for name in ("OPENAI_API_KEY", "GROQ_API_KEY")}
    understood = load(Path("proxy.yaml"), read_catalogue(), SecretReader(environment))
    routes = [[target.provider for target in route.targets] for route in understood.file.models.values()]
    series = expected_series(understood.providers, targets(understood), True, routes, circuits(understood))
    assert list(report(understood, understood.settings(), series)) == shown.splitlines()


def test_configuration_says_which_part_of_a_url_is_the_prefix(tmp_path: Path) -> None:
    """Each row of the table, as a file that says it."""
    found = 0
    for url, over, root, prefix, _ in rows(section("docs/configuration.md", "## Providers")):
        name = quoted(over)[0] if "`" in over else "mine"
        path = tmp_path / "proxy.yaml"
        path.write_text(f"providers: {{{name}: {{base_url: {quoted(url)[0]}}}}}")
        provider = load(path, read_catalogue(), SecretReader({})).providers[name]
        assert [provider.base_url, provider.path_prefix] == [*quoted(root), *quoted(prefix)], url
        found += 1
    assert found == 6


def _is_at(key: configuration.Path_, place: tuple[str | int, ...]) -> bool:
    pairs = zip(key, place, strict=False)
    return len(key) == len(place) and all(part in (configuration.EACH, given) for part, given in pairs)


def test_architecture_names_the_floors_that_are_there() -> None:
    """Every folder and file of the package's top has its row."""
    said = {quoted(row[0])[0].rstrip("/") for row in rows(section("docs/architecture.md", "## Floors"))}
    there = {path.name for path in (ROOT / "openai_proxy").iterdir() if not path.name.startswith(("_", "."))}
    assert said == (there - {"py.typed"}) | {"twisted/plugins"}


@dataclass(frozen=True)
class FamilyRow:
    """A row of a table of families; columns of another meaning may stand in the table too."""

    kind: str
    labels: frozenset[str]
    buckets: str = ""
    children: str = ""


def said_families() -> dict[str, FamilyRow]:
    """What docs/metrics.md says of each family, which it says once, with a meaning."""
    families: dict[str, FamilyRow] = {}
    for row in headed_rows(section("docs/metrics.md", "## Families")):
        (name,) = quoted(row["family"])
        assert name not in families and row["meaning"], name
        families[name] = FamilyRow(
            row["type"], frozenset(quoted(row["labels"])), row["buckets"], row["children"]
        )
    return families


def test_metrics_has_every_family() -> None:
    """Names as they are exposed, types, labels, buckets and caps."""
    bounds_of = {bounds: name for name, bounds in buckets.ALL.items()}
    expected = {}
    for collector, names in chain.from_iterable(one._collector_to_names.items() for one in registries()):
        if isinstance(collector, Family):
            expected[collector.shown_name] = FamilyRow(
                collector.kind,
                frozenset(collector.labels),
                bounds_of[tuple(collector.bounds)] if isinstance(collector, HistogramFamily) else "",
                str(collector.cap) if isinstance(collector, Parent) else "",
            )
            continue
        assert not names or names[0].startswith(("process_", "python_"))
        for family in collector.collect():
            labels = {label for sample in family.samples for label in sample.labels}
            name = family.name + ("_total" if family.type == "counter" else "")
            expected[name] = FamilyRow(family.type, frozenset(labels))
    assert said_families() == expected
    assert f"all {len(ENDPOINTS)} endpoints" in section("docs/metrics.md", "## Families")


def test_metrics_has_every_bucket() -> None:
    """Each bound of each name."""
    expected = {name: list(bounds) for name, bounds in buckets.ALL.items()}
    table = rows(section("docs/metrics.md", "## Buckets"))
    assert {name: [float(bound) for bound in bounds.split(", ")] for name, bounds in table} == expected


def test_metrics_has_the_bound_on_series() -> None:
    """It is the sum over the families, rounded up; and what is there at the start is said."""
    metrics = Metrics(new_registry())
    most = 0
    for collector in metrics.registry._collector_to_names:
        if isinstance(collector, Parent):
            each = len(collector.bounds) + 3 if isinstance(collector, HistogramFamily) else 1
            most += collector.bound * each
    text = section("docs/metrics.md", "## How many series")
    (said,) = re.findall(r"never more than (\d+) samples", text)
    assert most <= int(said) < most + 500
    for provider in ("openai", "mock"):
        metrics.expect(provider)
    at_start = sum(len(list(family.samples)) for family in metrics.registry.collect())
    (said,) = re.findall(r"no request yet there are some (\d+)\s+samples", text)
    assert abs(at_start - int(said)) < 20
    assert set(MAIN_ENDPOINTS) <= set(quoted(text))
    exemplars = section("docs/metrics.md", "## Exemplars")
    assert f"cut to {EXEMPLAR_ID_CHARACTERS} characters" in exemplars
    assert f"took {SLOW_SECONDS:.0f} s or longer" in exemplars
    families = section("docs/metrics.md", "## Families")
    assert f"more than {FORGET_SECONDS // 60} minutes ago" in families
    assert f"{MOST_PAIRS} pairs of provider and model" in families
    assert f"model `{ANY_MODEL}`" in families
    assert re.search(rf"states of {MOST_TARGETS}\s+targets are shown", families)


def test_metrics_has_every_value_of_the_other_labels() -> None:
    """Each label of a family that has no section of its own, with its values."""
    said = {}
    families = said_families()
    for label, family, values in rows(section("docs/metrics.md", "## Other labels")):
        (name,), (label,) = quoted(family), quoted(label)
        assert label in families[name].labels
        said[label, name.removeprefix("openai_proxy_")] = set(quoted(values))
    assert said == {
        ("result", "upstream_attempts_total"): set(AttemptResult),
        ("result", "upstream_connections_opened_total"): set(CONNECT_RESULTS),
        ("reason", "retries_total"): {STALE_CONNECTION, *RETRY_REASONS},
        ("reason", "fallbacks_total"): set(FALLBACK_REASONS),
        ("from_provider", "fallbacks_total"): set(),
        ("to_provider", "fallbacks_total"): set(),
        ("result", "hedges_total"): set(HEDGE_RESULTS),
        ("state", "circuit_state"): set(STATES),
        ("to_state", "circuit_transitions_total"): set(STATES),
        ("member", "dropped_members_total"): {OTHER},
        ("reason", "usage_missing_total"): set(UsageMissing),
        ("phase", "client_disconnects_total"): set(DisconnectPhase),
        ("phase", "upstream_connect_duration_seconds"): {"dns", "tcp", "tls"},
        ("reused", "upstream_connection_requests_total"): {"true", "false"},
        ("state", "upstream_connections"): {"active", "idle"},
        ("state", "reactor_threadpool_threads"): {"working", "idle"},
        ("resource", "upstream_ratelimit_remaining"): {"requests", "tokens"},
        ("level", "log_messages_total"): set(LOG_LEVELS),
        ("result", "trace_spans_exported_total"): set(EXPORT_RESULTS),
        ("source", "errors_total"): set(ErrorSource),
        ("type", "errors_total"): {*TYPES, OTHER, NONE},
        ("code", "errors_total"): {*CODES, OTHER, NONE},
        ("metric", "metric_label_overflow_total"): set(),
        ("listener", "tls_certificate_expiry_timestamp_seconds"): set(),
        ("result", "config_reloads_total"): set(RESULTS),
    }
    of_their_own = {"provider", "endpoint", "model", "status", "status_class", "outcome"}
    ours = {label for name, row in families.items() if not name.startswith("p") for label in row.labels}
    versions = families["openai_proxy_build_info"].labels
    assert ours == {label for label, _ in said} | of_their_own | versions


def test_metrics_has_every_value_of_the_closed_labels() -> None:
    """Endpoints with their paths, outcomes, models."""
    endpoints = rows(section("docs/metrics.md", "## endpoint"))
    assert [quoted(row[0])[0] for row in endpoints] == list(ENDPOINTS)
    prefixes = {(path, quoted(row[0])[0]) for row in endpoints for path in quoted(row[1])}
    assert prefixes == set(_BY_PREFIX.items())
    outcomes = [quoted(row[0])[0] for row in rows(section("docs/metrics.md", "## outcome"))]
    assert sorted(outcomes) == sorted(Outcome)
    models = section("docs/metrics.md", "## model").rpartition("\n\n`")[2]
    assert sorted(quoted("`" + models)) == sorted(KNOWN)
    assert {OTHER, NONE} <= set(quoted(section("docs/metrics.md", "## model")))


def test_access_log_has_every_member() -> None:
    """In their order, with their types and every value of the closed ones."""
    table = rows(section("docs/access-log.md", "## Members"))
    assert [quoted(name)[0] for name, _, _ in table] == list(Line.__struct_fields__)
    kinds = {"str": "string", "int": "number", "float": "number", "bool": "boolean", "Sequence": "array"}
    closed: dict[str, type[StrEnum]] = {
        "phase": DisconnectPhase,
        "usage_missing": UsageMissing,
        "attempt_results": AttemptResult,
        "error_source": ErrorSource,
    }
    for name, kind, text in table:
        annotation = re.split(r"[ \[]", Line.__annotations__[quoted(name)[0]])[0]
        assert kind == kinds.get(annotation, "string"), name
        if values := closed.get(quoted(name)[0]):
            assert quoted(text) == list(values), name


def test_behaviour_has_every_error_of_ours() -> None:
    """Status, code, outcome and message of what is answered in an upstream's stead."""
    failures = [*_BY_ERROR.values(), HELD_BODIES_FULL, PROXY_FAILED]
    table = [row for row in rows(section("docs/behaviour.md", "## Errors of the proxy")) if len(row) == 4]
    assert sorted(table) == sorted(
        [str(one.status), f"`{one.code}`", f"`{one.outcome}`", one.message] for one in failures
    )
    assert {one.retry_after_seconds for one in failures if one.status == 503} == {1}
    assert {one.retry_after_seconds for one in failures if one.status != 503} == {None}


def test_behaviour_has_every_refusal() -> None:
    """Status and message of what is answered before a request has a provider."""
    sources = "".join(path.read_text() for path in sorted((ROOT / "openai_proxy/wire").glob("*.py")))
    refusals = set(re.findall(r'(?:Rejected|\.reject)\(\s*(\d{3}),\s*"([^"]+)"', sources))
    assert len(refusals) > 15
    refusals.add(("404", "Unknown path. The proxy's routes are listed at /."))
    table = [row for row in rows(section("docs/behaviour.md", "## Errors of the proxy")) if len(row) == 2]
    assert {tuple(row) for row in table} == refusals


def test_contributing_names_commands_that_make_has() -> None:
    """Every ``make`` of the documents is a target."""
    makefiles = "".join(path.read_text() for path in (ROOT / "Makefile", *ROOT.glob("benchmarks/*.mk")))
    targets = set(re.findall(r"^([a-z-]+):", makefiles, re.MULTILINE))
    for document in DOCUMENTS:
        said = re.findall(r"(?:`|^)make ([a-z-]+)", document.read_text(), re.MULTILINE)
        assert set(said) <= targets, document.name


def test_the_example_of_prices_loads(tmp_path: Path) -> None:
    """An operator's file as documented is valid and means what is said; each rate is named beside it."""
    said = (ROOT / "docs/metrics.md").read_text().split("### Prices of your own", 1)[1].split("\n## ", 1)[0]
    (example,) = re.findall(r"```toml\n(.*?)```", said, re.DOTALL)
    path = tmp_path / "prices.toml"
    path.write_text(example)
    prices = Prices.load(path)
    assert prices.price_of("openai", "gpt-4o-2024-08-06", "flex") == Price(
        input=1_000_000, cached_input=500_000, output=4_000_000
    )
    assert prices.price_of("openai", "ft:our-voice:org") == prices.price_of("openai", "our-voice")
    assert prices.price_of("openai", "our-whisper") == Price(audio_hour=360_000, audio_least_seconds=10)
    for at, rate in (
        ("2030-01-01 12:00", 1_000_000),
        ("2031-01-01 12:00", 900_000),
        ("2031-01-01 23:00", 500_000),
    ):
        price = prices.price_of("openai", "our-model", None, datetime.fromisoformat(at + "Z").timestamp())
        assert price is not None and price.input == rate
    assert prices.price_of("lab", "local/llama") == Price(input=0, output=0)
    assert prices.price_of("lab", "gpt-4o") == prices.price_of("openai", "gpt-4o")
    assert set(Rates.__struct_fields__) <= set(quoted(said.rpartition("```")[2]))
