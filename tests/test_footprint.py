"""What a daemon that serves has imported: modules are most of its memory and of its time to start."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest

from tests.support.daemon import ROOT, environment

# As twistd does it, up to the reactor's first turn.
MAKE_THE_DAEMON = """
import sys
before = set(sys.modules)
import twisted.scripts.twistd
from openai_proxy.tap import Options, makeService
options = Options()
options.parseOptions(sys.argv[1:])
makeService(options)
print(*sorted(set(sys.modules) - before))
"""

NOT_NEEDED = {
    "tomllib": "only for an operator's prices in TOML",
    "yaml": "only for a configuration file",
    "opentelemetry": "only for traces",
    "requests": "the same",
    "google.protobuf": "the same",
    "openai_proxy.observe.trace_sink": "the same",
    "openai_proxy.providers.catalogue": "the same",
    "twisted.web.static": "we serve no files",
    "twisted.web.template": "we serve no HTML",
    "twisted.trial.unittest": "a test's",
    "treq.testing": "a test's",
    "xml.etree": "nobody sends XML",
    "multiprocessing": "one process",
    "concurrent.futures.process": "one process",
    "sqlite3": "no database",
}
"""Large modules of what we stand on, and why a daemon does without."""


def modules_of_a_daemon(*options: str) -> set[str]:
    """The names of all modules that a child imports to serve with these options."""
    command = [sys.executable, "-c", MAKE_THE_DAEMON, *options]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def modules() -> set[str]:
    """Those of a daemon without options."""
    return modules_of_a_daemon()


def test_modules_that_no_daemon_needs_are_not_imported(modules: set[str]) -> None:
    """Each would cost every user memory and time for what few or none of them use."""
    assert {name: why for name, why in NOT_NEEDED.items() if name in modules} == {}


def test_no_package_is_imported_that_is_not_installed_for_it(modules: set[str]) -> None:
    """What only a developer has would be missing where the daemon runs, or be there by accident."""
    locked = re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / "run.txt").read_text(), re.MULTILINE)
    known = {_normal(name) for name in [*locked, "openai-proxy"]}
    distributions = packages_distributions()
    used = {name.split(".")[0] for name in modules}
    # Some names, as zope, are shared by many distributions.
    owners = {name: {_normal(owner) for owner in distributions.get(name, [])} for name in used}
    assert {name for name, these in owners.items() if these and known.isdisjoint(these)} == set()


def test_without_the_mock_none_of_its_modules_is_imported(modules: set[str]) -> None:
    """``--no-mock`` spares its memory too."""
    mock = "openai_proxy.providers.mock"
    assert mock in modules
    assert [name for name in modules_of_a_daemon("--no-mock") if name.startswith(mock)] == []


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
