"""A file, read and checked as a whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path

import msgspec
import pytest

from openai_proxy.config.configuration import Configuration, load
from openai_proxy.config.difference import difference
from openai_proxy.config.document import MAX_BYTES
from openai_proxy.config.file import File
from openai_proxy.config.problems import ConfigError
from openai_proxy.config.provider import Provider
from openai_proxy.config.secret import SecretReader
from openai_proxy.config.settings import Listen, Settings
from openai_proxy.providers.catalogue import read_catalogue

CATALOGUE = read_catalogue()
SECRETS = SecretReader({"KEY": "sk-canary"})

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Puts a text into a file."""

    def write_(text: str) -> Path:
        (tmp_path / "proxy.yaml").write_text(text)
        return tmp_path / "proxy.yaml"

    return write_


def problems(path: Path, port: str | None = None) -> list[str]:
    """What is told of a file, with the lines."""
    with pytest.raises(ConfigError) as refused:
        load(path, CATALOGUE, SECRETS, port)
    assert "canary" not in str(refused.value)
    return [f"{problem.line}: {problem}" for problem in refused.value.problems]


def loaded(path: Path, port: str | None = None) -> Configuration:
    """A file that has no problem."""
    return load(path, CATALOGUE, SECRETS, port)


@pytest.mark.parametrize("text", ["{}", "# Nothing yet.\n", "---\n"])
def test_a_file_without_keys_is_the_daemon_without_a_file(write: Write, text: str) -> None:
    """Every key may be left out; the one provider is then the catalogue's openai, with the client's key."""
    configuration = loaded(write(text))
    assert configuration.settings() == Settings()
    assert configuration.default_provider == "openai"
    ((name, openai),) = configuration.providers.items()
    assert (name, openai.base_url, openai.path_prefix) == ("openai", Settings().upstream, "/v1")
    assert openai.keeps_client_key


EVERYTHING = """
listeners: [{address: "9000"}]
providers: {openai: {base_url: https://eu.example.com/v1}}
mock: false
ca_file: ca.pem
timeouts: {connect_seconds: 1, head_seconds: 2, idle_seconds: 3, pool_idle_seconds: 4}
limits: {request_target_bytes: 1, header_count: 2, header_bytes: 3, body_bytes: 4, header_seconds: 5,
  keepalive_seconds: 6, body_bytes_per_second: 0, write_stall_seconds: 8, held_body_bytes: 9,
  held_total_bytes: 10}
pool: {connections: 1, waiting: 0}
observation: {answers: false, include_usage: false}
prices: {file: prices.toml}
access_log: {file: log/access.json, sample: 10}
admin: {address: "9091", token: "env:KEY"}
drain: {grace_seconds: 5, timeout_seconds: 60}
log: {format: json, level: warn}
tracing: {}
workers: 2
"""


def test_two_readings_of_one_file_are_equal(write: Write) -> None:
    """By value, whatever is in it: a reload asks which providers are still the same."""
    text = EVERYTHING.replace("providers: {", "providers: {groq: {api_key: env:KEY, quirks: {drop: [a]}}, ")
    text += "default_provider: openai\nmodels: {fast: {targets: [{provider: groq}]}}\n"
    text = text.replace('{address: "9000"}', '{address: "unix:/s", tls: {certificate: a.pem}}')
    first, second = loaded(write(text)), loaded(write(text))
    assert first == second
    assert first.providers["groq"] is not second.providers["groq"]
    assert first.settings() == second.settings()
    rotated = load(write(text), CATALOGUE, SecretReader({"KEY": "sk-canary-2"}))
    assert rotated != first
    assert rotated.providers["groq"] != first.providers["groq"]
    assert rotated.providers["openai"] == first.providers["openai"]
    for name in ("providers", "default_provider", "admin", "listeners", "models", "drain", "log"):
        changed = loaded(write(text))
        assert getattr(changed.file, name) == getattr(first.file, name)
        assert changed != msgspec.structs.replace(
            first, file=msgspec.structs.replace(first.file, **{name: getattr(File(), name)})
        )


def test_a_file_without_an_end_is_told() -> None:
    """It is not read until the memory is full."""
    assert problems(Path("/dev/zero")) == [f"None: longer than {MAX_BYTES} bytes"]


@pytest.mark.parametrize("text", ["", "\n", " \r\n\t"])
def test_an_empty_file_is_no_wish(write: Write, text: str) -> None:
    """It is what a full disk leaves: a reload would forget all providers for it."""
    assert problems(write(text)) == ["None: empty; if all is to be as the defaults say: {}"]


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    """At once, whatever stands there; a FIFO is not waited for."""
    assert problems(tmp_path) == ["None: Is a directory"]
    assert problems(tmp_path / "gone") == ["None: No such file or directory"]
    os.mkfifo(tmp_path / "fifo")
    assert problems(tmp_path / "fifo") == ["None: Not a file"]
    (tmp_path / "loop").symlink_to("loop")
    assert problems(tmp_path / "loop") == ["None: Too many levels of symbolic links"]


def test_a_folder_that_is_swapped_is_read_anew(tmp_path: Path) -> None:
    """As Kubernetes does with a ConfigMap: ``..data`` is renamed over, and the path stays."""
    for number in (1, 2):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "proxy.yaml").write_text(f"workers: {number}")
    (tmp_path / "proxy.yaml").symlink_to("..data/proxy.yaml")
    (tmp_path / "..data").symlink_to("..1")
    old = loaded(tmp_path / "proxy.yaml")
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert difference(old, loaded(tmp_path / "proxy.yaml")) == ["workers: 1 -> 2"]
    (tmp_path / "..data").unlink()
    assert problems(tmp_path / "proxy.yaml") == ["None: No such file or directory"]


def test_every_setting_of_a_daemon_can_be_given(write: Write) -> None:
    """A setting that is added to the daemon has to be added to the file."""
    configuration = loaded(write(EVERYTHING))
    settings = configuration.settings()
    unset = []
    for one in fields(Settings):
        given, default = getattr(settings, one.name), getattr(Settings(), one.name)
        parts = fields(given) if is_dataclass(given) else ()
        unset += [
            f"{one.name}.{part.name}"
            for part in parts
            if getattr(given, part.name) == getattr(default, part.name)
        ]
        if not parts and given == default:
            unset.append(one.name)
    # It is a daemon's without a file; a file says it of the provider.
    assert unset == ["upstream"]
    assert configuration.providers["openai"].base_url == "https://eu.example.com"
    assert settings.listen == (Listen("tcp:9000"),)
    assert settings.timeouts.pool_idle_seconds == 4
    assert settings.pool.waiting == 0


def test_every_listener_is_listened_at(write: Write) -> None:
    """In the order of the file."""
    text = "listeners: [{address: 'tcp:1:interface=127.0.0.1'}, {address: '2'}, {address: 'unix:/run/p'}]"
    listen = loaded(write(text)).settings().listen
    assert [one.description for one in listen] == ["tcp:1:interface=127.0.0.1", "tcp:2", "unix:/run/p"]


def test_an_upstream_of_the_command_line_is_openais_root(write: Write) -> None:
    """All else of the provider is as the file says, and so are the other providers."""
    configuration = loaded(write("providers: {openai: {path_prefix: /api/v2, client_key: drop}, groq: }"))
    changed = configuration.with_upstream("http://line.example/mock")
    openai = changed.providers["openai"]
    assert (openai.base_url, openai.path_prefix) == ("http://line.example/mock", "/api/v2")
    assert openai.client_key == "drop"
    assert changed.providers["groq"] == configuration.providers["groq"]
    openai = configuration.with_upstream("http://line.example/v1").providers["openai"]
    assert (openai.base_url, openai.path_prefix) == ("http://line.example", "/v1")


def test_files_are_beside_the_file(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the daemon is started; absolute ones are where they are, and - is stdout."""
    path = write(EVERYTHING)
    monkeypatch.chdir(tmp_path)
    for settings in (loaded(path).settings(), loaded(Path("proxy.yaml")).settings()):
        assert settings.ca_file == str(tmp_path / "ca.pem")
        assert settings.observation.prices_file == str(tmp_path / "prices.toml")
        assert settings.access_log == str(tmp_path / "log/access.json")
    assert loaded(write("ca_file: /etc/ca.pem")).settings().ca_file == "/etc/ca.pem"
    assert loaded(write('access_log: {file: "-"}')).settings().access_log == "-"


@pytest.mark.parametrize(
    ("content", "message"), [(None, "No such file"), ("- a", "a mapping"), ("a: [", "not YAML")]
)
def test_a_file_that_cannot_be_read_is_a_problem(write: Write, content: str | None, message: str) -> None:
    """Of the same form as any other."""
    path = Path("/nonexistent/proxy.yaml") if content is None else write(content)
    (problem,) = problems(path)
    assert message in problem


GROQ = "providers: {groq: }\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("providers: {v1: {base_url: http://h}}", "1: providers.v1: a name of the daemon's own"),
        ("providers: {Groq: {}}", "1: providers.Groq: not a name for this"),
        ("providers:\n  mine: {}", "2: providers.mine: the catalogue has no 'mine': `base_url` is wanted"),
        ("providers: {groc: }", "or `like` one that it has; did you mean 'groq'?"),
        ("providers: {a: {like: groc}}", "1: providers.a.like: the catalogue has no 'groc'; did you mean"),
        ("providers: {a: {base_url: 'http://u:canary@h'}}", "1: providers.a.base_url: a URL with cred"),
        ("providers: {a: {base_url: ftp://h}}", "1: providers.a.base_url: not an http:// or https:// URL"),
        ("providers:\n  azure: {}", "2: providers.azure.parameters.resource: is wanted"),
        (
            "providers: {azure: {parameters: {rseource: r, resource: r}}}",
            "1: providers.azure.parameters.rseource: there is no such parameter; did you mean 'resource'?",
        ),
        ("providers: {openai: {api_key: sk-canary}}", "1: providers.openai.api_key: not a reference"),
        ("providers: {openai: {api_key: env:GONE}}", "api_key: the environment has no GONE"),
        (
            "providers: {a: {base_url: http://h}, b: {base_url: http://h}}",
            "None: default_provider: is wanted, as there are several: one of a, b",
        ),
        (GROQ + "default_provider: grok", "2: default_provider: there is no provider 'grok'; did you mean"),
        ("default_provider: groq", "1: default_provider: 'groq' is in the catalogue but not among"),
        ("models: {m: {targets: [{provider: groq}]}}", "1: models.m.targets[0].provider: 'groq' is in the"),
        (
            GROQ + "models:\n  m: {targets: [{provider: grop}]}",
            "3: models.m.targets[0].provider: there is no provider 'grop'; did you mean 'groq'?",
        ),
        (
            GROQ + "models: {m: {targets: [{provider: groq}, {provider: groq, model: m}]}}",
            "2: models.m.targets[1]: the same provider and model as one before it",
        ),
        (
            GROQ + "models: {groq/m: {targets: [{provider: groq}]}}",
            "2: models['groq/m']: names a model of the provider 'groq', which needs no route",
        ),
        ("models: {'a b': {targets: [{provider: openai}]}}", "1: models['a b']: not a name for this"),
        ("listeners: [{address: '99999'}]", "1: listeners[0].address: 99999 is not a port number"),
        (
            "listeners: [{address: '1'}, {address: tcp:1}]",
            "1: listeners[1].address: cannot be listened at beside listeners[0] (tcp:1)",
        ),
        (
            "listeners: [{address: '1'}]\nadmin: {address: tcp:1:interface=127.0.0.1}",
            "2: admin.address: cannot be listened at beside listeners[0] (tcp:1)",
        ),
        ("admin: {address: '99999'}", "1: admin.address: 99999 is not a port number"),
        ("admin: {token: env:KEY}", "1: admin.address: is wanted: without a port of its own"),
        ("admin: {tls: {certificate: a}}", "1: admin.address: is wanted: without a port of its own"),
        ("admin: {address: '1', tls: {key: a}}", "1: admin.tls.certificate: is wanted"),
        ("admin: {address: '1', token: sk-canary}", "1: admin.token: not a reference to a secret"),
        (
            "listeners: [{address: 'ssl:1:privateKey=k', tls: {certificate: a}}]",
            "1: listeners[0].tls: `address` says `ssl:` as well",
        ),
        ("providers: {inflight: {base_url: http://h}}", "1: providers.inflight: a name of the daemon's own"),
        ("listeners: []", "1: listeners: at least one is wanted"),
        ("access_log: {file: ''}", "1: access_log.file: text (a file's name) is wanted"),
    ],
)
def test_what_does_not_fit_together_is_told(write: Write, text: str, problem: str) -> None:
    """Each with its place, its line, and what may have been meant."""
    found = [one for one in problems(write(text)) if problem in one]
    assert len(found) == 1, problems(write(text))


def test_every_problem_is_told_not_the_first(write: Write) -> None:
    """Of every kind: YAML, keys, values, secrets, names; and a name that is there is not missing."""
    text = """
providers:
  groq: {api_key: env:GONE, base_url: nonsense, headers: {Authorization: canary}}
  groq: {}
  mine: {qirks: {}}
models:
  m: {choice: weighted, targets: [{provider: groq, weight: 0}, {provider: mine, weight: 0}]}
  o: {targets: [{provider: gone}]}
  n: {targets: [{model: x}]}
timeouts: {connect_seconds: 0}
"""
    assert [
        one.partition(": ")[0] + one.partition(": ")[2].partition(": ")[0] for one in problems(write(text))
    ] == [
        "Nonedefault_provider",
        "Nonelisteners[0]",
        "3providers.groq.api_key",
        "3providers.groq.headers",
        "3providers.groq.base_url",
        "4providers.groq",
        "5providers.mine.qirks",
        "5providers.mine",
        "7models.m.targets",
        "8models.o.targets[0].provider",
        "9models.n.targets[0].provider",
        "10timeouts.connect_seconds",
    ]


def key_goes_out(configuration: str) -> bool:
    """Whether a listener is refused because it would lend our keys."""
    return "could use the keys" in configuration


PUBLIC = ["", "listeners: [{address: '8080'}]\n", "listeners: [{address: 'tcp:1:interface=10.0.0.1'}]\n"]
PRIVATE = [
    "listeners: [{address: 'tcp:1:interface=127.0.0.1'}]\n",
    "listeners: [{address: 'unix:/run/p'}]\n",
    "listeners: [{address: '1', allow_anonymous: true}]\n",
]
OURS = "providers: {openai: {api_key: env:KEY}}\n"
TOKEN = "providers: {openai: {token: {file: /run/token}}}\n"


@pytest.mark.parametrize("listeners", PUBLIC)
@pytest.mark.parametrize("keys", [OURS, TOKEN, "providers: {openai: {api_key: env:GONE}}\n"])
def test_a_public_port_does_not_lend_our_keys(write: Write, listeners: str, keys: str) -> None:
    """Whoever can reach it could spend the operator's money; a key that could not be read is one too."""
    assert any(key_goes_out(one) for one in problems(write(listeners + keys)))


@pytest.mark.parametrize("listeners", PRIVATE)
def test_a_private_port_or_a_word_of_the_operator_is_enough(write: Write, listeners: str) -> None:
    """Loopback, a socket file, or allow_anonymous."""
    assert loaded(write(listeners + OURS)).providers["openai"].has_key


def test_without_keys_of_ours_any_port_is_right(write: Write) -> None:
    """Clients bring their own."""
    assert loaded(write("providers: {openai: {}}\n")).providers["openai"].keeps_client_key


def test_the_port_of_the_command_line_is_what_is_checked(write: Write) -> None:
    """It takes the place of every listener."""
    public = write("listeners: [{address: '1'}, {address: '2'}]\n" + OURS)
    assert len(problems(public)) == 2
    configuration = loaded(public, "tcp:3:interface=127.0.0.1")
    assert [one.address for one in configuration.file.listeners] == ["tcp:3:interface=127.0.0.1"]
    assert any(key_goes_out(one) for one in problems(write(PRIVATE[0] + OURS), "4"))


ROUTE = """
models: {m: {targets: [{provider: a}, {provider: b}]}}
default_provider: a
listeners: [{address: "unix:/s"}]
"""


@pytest.mark.parametrize(
    ("a", "b", "sent"),
    [
        ("", "", "a, b"),
        ("api_key: env:KEY", "", "b"),
        ("api_key: env:KEY", "client_key: drop", None),
        ("client_key: drop", "token: {file: /t}", None),
        ("api_key: env:KEY", "api_key: env:KEY", None),
    ],
)
def test_a_clients_key_goes_to_one_provider_only(write: Write, a: str, b: str, sent: str | None) -> None:
    """A route over several providers would show it to each of them."""
    providers = f"providers: {{a: {{base_url: 'http://a', {a}}}, b: {{base_url: 'http://b', {b}}}}}\n"
    if sent is None:
        assert len(loaded(write(ROUTE + providers)).file.models["m"].targets) == 2
    else:
        (problem,) = problems(write(ROUTE + providers))
        assert f"would go to each of {sent}:" in problem


def test_the_catalogue_is_laid_under_by_name_or_by_like(write: Write) -> None:
    """Members that are given stand over it, in sections too; `like` wins over the name."""
    path = write("""
default_provider: mistral
providers:
  mistral: {quirks: {drop: [store]}, stream_usage: on_request}
  azure-eu: {like: azure, parameters: {resource: eu}}
  groq: {like: mistral}
  ollama: {base_url: "http://gpu:11434/v1"}
""")
    providers = loaded(path).providers
    mistral = CATALOGUE["mistral"]
    assert providers["mistral"].quirks.drop == ("store",)
    assert providers["mistral"].quirks.rename == mistral.quirks.rename
    assert providers["mistral"].quirks.strip_stream_options
    assert providers["mistral"].stream_usage == "on_request"
    assert providers["azure-eu"].base_url == "https://eu.openai.azure.com"
    assert providers["azure-eu"].credential.name == "api-key"
    assert providers["azure-eu"].priced_as == "azure"
    assert providers["groq"].base_url == mistral.base_url
    assert (providers["ollama"].base_url, providers["ollama"].path_prefix) == ("http://gpu:11434", "/v1")
    assert providers["ollama"].client_key == "drop"


def test_an_own_url_needs_no_parameters(write: Write) -> None:
    """Nor is one that is given all the same a problem."""
    path = write(
        "providers: {azure: {base_url: 'https://gate.example/openai/v1', parameters: {resource: r}}}"
    )
    assert loaded(path).providers["azure"].base_url == "https://gate.example"


@pytest.mark.parametrize(
    ("given", "root", "prefix"),
    [
        ("base_url: 'http://h/v1'", "http://h", "/v1"),
        ("base_url: 'http://h/mock'", "http://h/mock", "/openai/v1"),
        ("base_url: 'http://h'", "http://h", "/openai/v1"),
        ("base_url: 'http://h/v1', path_prefix: /openai/v1", "http://h/v1", "/openai/v1"),
        ("base_url: 'http://h/v1', path_prefix: ''", "http://h/v1", ""),
        ("path_prefix: /v2", "https://api.groq.com", "/v2"),
    ],
)
def test_an_own_url_says_where_v1_is(write: Write, given: str, root: str, prefix: str) -> None:
    """By its path, unless the prefix is given too: what is said is not guessed at."""
    groq = loaded(write(f"providers: {{groq: {{{given}}}}}")).providers["groq"]
    assert (groq.base_url, groq.path_prefix) == (root, prefix)


def test_an_own_url_needs_no_parameters_of_a_prefix_that_it_replaces(write: Write) -> None:
    """Vertex by its whole URL; with a host alone, the prefix and its parameter are still wanted."""
    url = "https://eu-aiplatform.googleapis.com/v1/projects/p/locations/eu/endpoints/openapi"
    vertex = loaded(write(f"providers: {{vertex: {{base_url: '{url}'}}}}")).providers["vertex"]
    assert f"{vertex.base_url}{vertex.path_prefix}" == url
    path = write("providers: {vertex: {base_url: 'https://eu-aiplatform.googleapis.com'}}")
    assert [one.partition(": ")[2] for one in problems(path)] == [
        "providers.vertex.parameters.location: is wanted",
        "providers.vertex.parameters.project: is wanted",
    ]


@pytest.mark.parametrize(
    ("text", "default"),
    [
        ("{}", "openai"),
        ("providers: {groq: }", "groq"),
        ("providers: {groq: , openai: }", "openai"),
        ("providers: {groq: , openai: }\ndefault_provider: groq", "groq"),
    ],
)
def test_who_gets_what_names_no_model(write: Write, text: str, default: str) -> None:
    """The one that is said, the only one, or openai."""
    assert loaded(write(text)).default_provider == default


def test_nothing_shows_a_key(write: Write) -> None:
    """Whatever prints the whole configuration."""
    configuration = loaded(write(PRIVATE[0] + OURS))
    assert "canary" not in repr(configuration)
    key = configuration.providers["openai"].api_key
    assert key is not None
    assert key.reveal() == "sk-canary"
    assert isinstance(configuration.file.providers["openai"], Provider)
