"""The wheel, not the checkout: what is in it, and that ``twistd`` finds it where it is installed."""

from __future__ import annotations

import re
import shutil
import site
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import openai_proxy
from tests.support.tools import require_tool

ROOT = Path(__file__).parents[1]
PLUGIN = "twisted/plugins/openaiproxy_plugin.py"
BUILD_SECONDS = 120

SHOW_ORIGINS = """
import openai_proxy
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
print(openai_proxy.__file__)
for maker in getPlugins(IServiceMaker):
    if maker.tapname == "openaiproxy":
        import twisted.plugins.openaiproxy_plugin as plugin
        print(plugin.__file__)
"""


def run(*command: str | Path, cwd: Path) -> str:
    """What ``command`` writes; a failure shows what it wrote to both its outputs."""
    done = subprocess.run(
        command, cwd=cwd, text=True, timeout=BUILD_SECONDS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """The files of the checkout that git knows, as paths below it."""
    git = require_tool("git")
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = run(git, "-c", f"safe.directory={ROOT}", "ls-files", "-z", cwd=ROOT).split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a clean copy of the checkout, built without a network.

    The copy has the cache that ``twistd`` leaves beside a plugin: it must not be packed.
    """
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    (source / "twisted" / "plugins" / "dropin.cache").write_bytes(b"stale")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist", cwd=source)
    (built,) = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel alone in it; its python.

    What we depend on comes from the running environment's folders, added to the path as they
    are: a ``.pth`` file there, such as that of an editable install, is not read.
    """
    folder = tmp_path_factory.mktemp("environment") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python),
        *("install", "--no-index", "--no-deps", "--quiet", wheel),
        cwd=folder.parent,
    )
    packages = run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=folder.parent).strip()
    Path(packages, "running_environment.pth").write_text("\n".join(site.getsitepackages()))
    return python


def test_the_wheel_holds_the_tracked_modules_and_the_plugin_and_nothing_else(
    wheel: Path, tracked: list[str]
) -> None:
    """No module is lost, and no cache, ``.pth`` file, test or ``__init__.py`` under twisted/ gets in."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {PLUGIN} | {name for name in tracked if name.startswith("openai_proxy/")}


def test_the_wheel_carries_its_licence_and_its_version(wheel: Path) -> None:
    """Version and licence are the same wherever they are said."""
    with zipfile.ZipFile(wheel) as archive:
        info = f"openai_proxy-{openai_proxy.__version__}.dist-info"
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        licence = archive.read(f"{info}/licenses/LICENSE").decode()
    assert metadata["Version"] == openai_proxy.__version__
    assert metadata["License-Expression"] == "MIT"
    assert licence == (ROOT / "LICENSE").read_text()


def test_twistd_of_another_environment_lists_the_installed_wheel(environment: Path, tmp_path: Path) -> None:
    """``twistd --help`` names ``openaiproxy``, and the plugin and the package are the wheel's."""
    start = "from twisted.scripts.twistd import run; run()"
    usage = run(environment, "-Ic", start, "--help", cwd=tmp_path)
    assert re.search(r"^\s+openaiproxy\s", usage, re.MULTILINE)
    origins = run(environment, "-Ic", SHOW_ORIGINS, cwd=tmp_path).split()
    assert len(origins) == 2
    assert all(Path(origin).is_relative_to(environment.parents[1]) for origin in origins), origins


def test_the_installed_wheel_has_its_data(environment: Path, tmp_path: Path) -> None:
    """Prices, the catalogue of providers and the page are read where they are installed."""
    script = (
        "from openai_proxy.policy.prices import Prices\n"
        "from openai_proxy.providers.catalogue import read_catalogue\n"
        "from openai_proxy.web.page import page\n"
        "print(Prices.load().known_name('openai', 'gpt-4o'), read_catalogue()['openai'].base_url)\n"
        "print(page()[0].decode().splitlines()[-1])"
    )
    said = run(environment, "-Ic", script, cwd=tmp_path).split()
    assert said == ["gpt-4o", "https://api.openai.com", "</html>"]


@pytest.mark.parametrize("lock", ["run.txt", "dev.txt", "real.txt"])
def test_a_lock_pins_every_package_and_names_no_index(lock: str) -> None:
    """``make`` installs the same bytes everywhere, from whatever index a machine is set to."""
    text = (ROOT / "requirements" / lock).read_text()
    entries = re.sub(r"#.*", "", text).replace("\\\n", " ").split("\n")
    for entry in filter(str.strip, entries):
        assert re.match(r"[a-z0-9-]+==\S+(\s+--hash=sha256:[0-9a-f]{64})+\s*$", entry), entry
    assert "://" not in text


def test_the_locks_hold_all_that_is_declared_and_agree() -> None:
    """A dependency cannot be declared and forgotten in a lock, nor tested in another version than run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    locked = {
        name: dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements" / name).read_text(), re.M))
        for name in ("run.txt", "dev.txt")
    }
    assert locked["run.txt"].items() <= locked["dev.txt"].items()
    for lock, declared in {
        "run.txt": [*project["dependencies"], *extras["build"]],
        "dev.txt": [*project["dependencies"], *(one for extra in extras.values() for one in extra)],
    }.items():
        names = {re.split(r"[^A-Za-z0-9._-]", one)[0].lower().replace("_", "-") for one in declared}
        assert names <= locked[lock].keys()
