"""A daemon with every scripted upstream behind it, and what one cell of the matrix has to show."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from prometheus_client.parser import text_string_to_metric_families

from tests.matrix.clients import Door
from tests.matrix.scenarios import Json
from tests.matrix.ways import AZURE_VERSION, Way
from tests.support.daemon import Daemon
from tests.support.forms.anthropic_form import AnthropicForm
from tests.support.forms.azure_form import AzureForm
from tests.support.forms.form import FOREIGN, Failing, FormUpstream
from tests.support.forms.gemini_form import GeminiForm
from tests.support.forms.openai_form import OpenAIForm

FORMS: dict[str, type[FormUpstream]] = {
    "openai": OpenAIForm,
    "azure": AzureForm,
    "anthropic": AnthropicForm,
    "gemini": GeminiForm,
}
TOKENS = (
    "openai_proxy_input_tokens_total",
    "openai_proxy_input_cached_tokens_total",
    "openai_proxy_input_cache_write_tokens_total",
    "openai_proxy_output_tokens_total",
    "openai_proxy_output_reasoning_tokens_total",
)
COUNTING_SECONDS = 10
ORGANIZATION = "org-of-the-client"

Counts = dict[tuple[str, str], list[int]]
"""By provider and model, a number for each of :data:`TOKENS`; none where all are 0."""


class Stage:
    """Serves when it is made. ``with`` ends it; the daemon must end with status 0.

    :param has_routing: whether the daemon can do more than ``--upstream``.
    """

    def __init__(self, folder: Path, has_routing: bool) -> None:
        # Without keys of ours the client's own travels on.
        keys = {name: f"sk-{name}-configured" for name in FORMS}
        if not has_routing:
            keys["openai"] = FOREIGN
        self.upstreams = {
            name: form(keys[name], is_ours=keys[name] != FOREIGN) for name, form in FORMS.items()
        }
        options = ["--upstream", self.upstreams["openai"].url]
        if has_routing:
            options = ["--config", str(self._configuration(folder))]
        self._daemon = Daemon(*options)
        self._before: Counts = {}
        self._last: Counts | None = None
        self.has_routing = has_routing

    def door(self, way: Way) -> Door:
        """Where clients of the way knock."""
        upstream = self.upstreams[way.form]
        if way.is_direct:
            return Door(way, upstream.url + way.path, upstream.key)
        return Door(way, self._daemon.url + way.path, FOREIGN, ORGANIZATION)

    def begin(self, way: Way, failing: Sequence[tuple[int, Mapping[str, str]]]) -> None:
        """Forget the cell before; the upstream of the way will fail so, and then answer."""
        for upstream in self.upstreams.values():
            upstream.forget()
            # They all do; but what comes through the daemon has it where the provider's documents put it.
            upstream.takes_bearer = way.is_direct
        self.upstreams[way.form].failing += [Failing(status, fields) for status, fields in failing]
        # A cell ends with a scrape, unless it failed.
        self._before = self._counts() if self._last is None else self._last
        self._last = None

    def violations(self) -> list[str]:
        """What no provider would have taken."""
        return [f"{name}: {one}" for name, upstream in self.upstreams.items() for one in upstream.violations]

    def asked(self) -> dict[str, list[str]]:
        """By form that was asked at all: the retry count of each request, as the SDK sent it."""
        return {
            name: [(one.get("x-stainless-retry-count") or b"").decode() for one in upstream.requests]
            for name, upstream in self.upstreams.items()
            if upstream.requests
        }

    def counted(self, wanted: Counts, nameless: str = "none") -> Counts:
        """What the daemon has counted since :meth:`begin`, when it is ``wanted``, or after a while.

        :param nameless: what the model ``none`` is called in it.
        """
        end = time.monotonic() + COUNTING_SECONDS
        while True:
            found = {}
            counts = self._counts()
            for labels, numbers in counts.items():
                before = self._before.get(labels, [0] * len(TOKENS))
                more = [now - then for now, then in zip(numbers, before, strict=True)]
                if any(more):
                    provider, model = labels
                    found[provider, nameless if model == "none" else model] = more
            if found == wanted or time.monotonic() > end:
                self._last = counts
                return found

    def close(self) -> None:
        """End all; raise what went wrong behind the scenes."""
        try:
            status = self._daemon.stop()
        finally:
            for upstream in self.upstreams.values():
                upstream.close()
        assert status == 0
        assert "Traceback" not in self._daemon.output, self._daemon.output

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _counts(self) -> Counts:
        names = "&".join(f"name[]={name}" for name in TOKENS)
        answer = self._daemon.ask("GET", f"/metrics?{names}", "Connection: close")
        found: Counts = {}
        for family in text_string_to_metric_families(answer.body.decode()):
            for sample in family.samples:
                labels = (sample.labels["provider"], sample.labels["model"])
                found.setdefault(labels, [0] * len(TOKENS))[TOKENS.index(sample.name)] = int(sample.value)
        return found

    def _configuration(self, folder: Path) -> Path:
        """The five providers, each with its key in a file; nothing that would hide what an SDK does."""
        lines = ["mock: false", "default_provider: openai", "retry: {attempts: 1}"]
        lines += ["breaker: {enabled: false}", "providers:"]
        for name in (*FORMS, "azure-deployments"):
            upstream = self.upstreams[name.removesuffix("-deployments")]
            (folder / name).write_text(upstream.key)
            lines += [f"  {name}:", f"    base_url: {upstream.url}", f"    api_key: file:{folder / name}"]
        lines += [f"    query: {{api-version: {AZURE_VERSION}}}"]
        file = folder / "openai-proxy.yaml"
        file.write_text("\n".join([*lines, ""]))
        return file


def normal(result: Json, given: str) -> Json:
    """Without what differs from run to run: a request id of the daemon's own."""
    found = {key: normal(value, given) if isinstance(value, dict) else value for key, value in result.items()}
    if found.get("request_id") not in (None, "req_scripted"):
        found["request_id"] = given
    return found
