"""Programs that some tests need and a machine may lack."""

from __future__ import annotations

import os
import shutil

import pytest


def require_tool(name: str) -> str:
    """The path of the program ``name``.

    Where it is missing the test is skipped with the name said; where ``CI`` is set it fails,
    so that a CI which forgot to install it is not green for having tested nothing.
    """
    path = shutil.which(name)
    if path is None and os.environ.get("CI"):
        pytest.fail(f"{name} is missing: .ci/run installs it", pytrace=False)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path
