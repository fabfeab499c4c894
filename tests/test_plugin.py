"""What ``twistd`` finds of us, and at what price."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.python.usage import Options

ROOT = Path(__file__).parents[1]
PLUGINS = ROOT / "twisted" / "plugins"

LIST_PLUGINS = """
import sys
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
assert "openaiproxy" in [maker.tapname for maker in getPlugins(IServiceMaker)]
print(*(name for name in sys.modules if name.split(".")[0] == "openai_proxy"))
print("reactor" if "twisted.internet.reactor" in sys.modules else "")
"""


def test_listing_the_plugins_imports_none_of_our_modules_and_no_reactor() -> None:
    """``twistd --help`` stays cheap, and ``--reactor`` is still free to choose."""
    run = subprocess.run(
        [sys.executable, "-c", LIST_PLUGINS], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.split() == []


def test_the_plugin_file_imports_only_twisted() -> None:
    """A broken module of ours cannot break ``twistd`` for the other plugins of an environment."""
    tree = ast.parse((PLUGINS / "openaiproxy_plugin.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["from twisted.application.service import ServiceMaker"]


def test_the_plugin_folder_is_no_package() -> None:
    """An ``__init__.py`` in it would take the place of Twisted's own, and no plugin would be found."""
    assert not (ROOT / "twisted" / "__init__.py").exists()
    assert not (PLUGINS / "__init__.py").exists()


def test_the_plugin_names_a_module_with_options_and_make_service() -> None:
    """The strings in the plugin lead to what ``twistd openaiproxy`` calls."""
    makers: list[Any] = list(getPlugins(IServiceMaker))
    (maker,) = [one for one in makers if one.tapname == "openaiproxy"]
    module = import_module(maker.module)
    assert issubclass(module.Options, Options)
    assert callable(module.makeService)
