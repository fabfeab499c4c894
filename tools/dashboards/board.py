"""A dashboard in Grafana's classic schema 39 (Grafana 10 to 13): variables, links, and panels in rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

Json = dict[str, Any]

TAG: Final = "openai-proxy"
SOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS: Final = 24

_VARIABLES: Final = {
    "job": ("Job", "http_requests_in_flight"),
    "instance": ("Instance", 'http_requests_in_flight{job=~"$job"}'),
    "provider": ("Provider", 'http_requests_total{job=~"$job"}'),
    "model": ("Model", 'http_requests_total{job=~"$job",provider=~"$provider"}'),
}


def board(name: str, title: str, description: str, variables: Iterable[str], panels: list[Json]) -> Json:
    """A dashboard whose uid is ``openai-proxy-<name>``; its panels are laid out in their order."""
    return {
        "uid": f"{TAG}-{name}",
        "title": f"OpenAI proxy: {title}",
        "description": description,
        "tags": [TAG],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "links": [_links()],
        "annotations": {"list": [_starts()]},
        "templating": {"list": [_source(), *(_variable(variable) for variable in variables)]},
        "panels": _laid_out(panels),
    }


def _links() -> Json:
    """To the other dashboards of the tag, with what is chosen here."""
    return {
        "type": "dashboards",
        "title": "OpenAI proxy",
        "tags": [TAG],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }


def _starts() -> Json:
    """A mark where a process was started: a deployment, or a crash."""
    return {
        "name": "Starts",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "purple",
        "expr": 'time() - process_start_time_seconds{job=~"$job"} < 60',
        "step": "15s",
        "titleFormat": "Started",
        "textFormat": "{{instance}}",
    }


def _source() -> Json:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
    }


def _variable(name: str) -> Json:
    label, series = _VARIABLES[name]
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": f"label_values({series}, {name})", "refId": name},
        # On each change of the time range: what was not seen before is offered.
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": "All", "value": "$__all"},
    }


def _laid_out(panels: list[Json]) -> list[Json]:
    """Side by side while there is room, else below; each with an id of its own."""
    placed = []
    x = y = height = 0
    for number, panel in enumerate(panels, 1):
        size = panel["gridPos"]
        if x + size["w"] > COLUMNS:
            x, y, height = 0, y + height, 0
        placed.append({"id": number, **panel, "gridPos": {"x": x, "y": y, **size}})
        x, height = x + size["w"], max(height, size["h"])
    return placed
