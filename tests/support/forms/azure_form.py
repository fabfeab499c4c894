"""Azure OpenAI, v1 and deployments: https://learn.microsoft.com/azure/ai-foundry/openai/reference."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from tests.support.forms.chat import Flavour
from tests.support.forms.form import Asked, NotThere, need
from tests.support.forms.openai_form import OpenAIForm
from tests.support.openai_upstream import Answering

_DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)/(.+)")
_BY_DEPLOYMENT = {
    *("chat/completions", "completions", "embeddings", "images/generations", "images/edits"),
    *("audio/transcriptions", "audio/translations", "audio/speech"),
}
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
_RESPONSES_SINCE = "2025-03-01"
_FILTERED = {
    name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")
}
_PROMPT = [{"prompt_index": 0, "content_filter_results": _FILTERED}]


class AzureForm(OpenAIForm):
    """``/openai/v1/`` with the deployment as ``model``, and ``/openai/deployments/`` with a dated version."""

    key_field = "api-key"
    key_prefix = ""
    root = "/openai/v1/"
    flavour = Flavour(
        members={"system_fingerprint": "fp_azure"},
        choice_members={"content_filter_results": _FILTERED},
        first_chunk={
            "id": "",
            "object": "",
            "created": 0,
            "model": "",
            "choices": [],
            "prompt_filter_results": _PROMPT,
        },
    )
    fields: ClassVar[Mapping[str, str]] = {
        "apim-request-id": "3f1a0c52-scripted",
        "x-ms-region": "Sweden Central",
        "x-request-id": "req_scripted",
        "x-ratelimit-remaining-tokens": "149984",
    }

    def answer_to(self, asked: Asked) -> Answering:
        path = asked.path
        deployment = _DEPLOYMENT.fullmatch(path)
        if path.startswith(self.root):
            version = asked.query.get("api-version", "v1")
            need(version in ("v1", "preview", "latest"), f"v1 takes no api-version {version}")
            return self.at(asked, path.removeprefix(self.root))
        version = asked.query.get("api-version", "")
        if not path.startswith("/openai/") or not _VERSION.fullmatch(version):
            raise NotThere("Resource not found")
        below = path.removeprefix("/openai/")
        if deployment is not None:
            return self._by_deployment(asked, deployment[1], deployment[2])
        need(below not in _BY_DEPLOYMENT, f"{below} is below its deployment")
        if below.startswith("responses") and version < _RESPONSES_SINCE:
            raise NotThere("Resource not found")
        return self.at(asked, below)

    def _by_deployment(self, asked: Asked, name: str, path: str) -> Answering:
        need(path in _BY_DEPLOYMENT, f"{path} is not below a deployment")
        if name not in self.models:
            raise NotThere("The API deployment for this resource does not exist.")
        is_form = path.startswith(("audio/transcriptions", "audio/translations"))
        given = asked.form().get("model", b"").decode() if is_form else asked.json().get("model", name)
        need(given in (name, ""), f"the path names {name}, the body {given}")
        return self.at(asked, path)

    def error_body(self, status: int, message: str) -> object:
        return {"error": {"code": f"code_{status}", "message": message}}
