"""The programs of docs/providers.md, as they stand there, through the daemon with the page's own files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import ROOT, Daemon
from tests.support.openai_upstream import OpenAIUpstream, json_answer

PAGE = (ROOT / "docs" / "providers.md").read_text().partition("## Azure")[2].partition("\n## ")[0]
FILES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o",
    "choices": [],
}


@pytest.mark.parametrize(
    ("file", "program", "target"),
    [
        (FILES[0], PROGRAMS[0], "/openai/v1/chat/completions"),
        (FILES[1], PROGRAMS[1], "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"),
        (
            FILES[1],
            PROGRAMS[0].replace("azure/", "azure-deployments/"),
            "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21",
        ),
    ],
    ids=["v1", "own client", "deployments"],
)
def test_azure_both_ways(file: str, program: str, target: str, tmp_path: Path) -> None:
    """The deployment is the model or stands in the path; the key is the operator's, not the client's."""
    path = tmp_path / "proxy.yaml"
    with OpenAIUpstream() as upstream:
        upstream.planned.append(json_answer(COMPLETION))
        path.write_text(file.replace("parameters: {resource: my-resource}", f"base_url: {upstream.url}"))
        key = {"AZURE_OPENAI_API_KEY": "ours"}
        with Daemon("--config", str(path), env=key) as daemon:
            names: dict[str, Any] = {}
            exec(program.replace("http://localhost:8080", daemon.url), names)
            names["client"].close()
            assert daemon.stop() == 0
    (asked,) = upstream.requests
    assert asked.target.decode() == target
    assert (asked.get("api-key"), asked.get("authorization")) == (b"ours", None)
    assert b'"my-deployment"' in asked.body
