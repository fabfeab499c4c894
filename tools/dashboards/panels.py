"""The kinds of panels that the dashboards are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Final

from tools.dashboards.board import SOURCE, Json
from tools.dashboards.colours import QUANTILES
from tools.dashboards.queries import quantile

_EMPTY: Final[Json] = {
    "type": "special",
    "options": {"match": "null+nan", "result": {"text": "No traffic"}},
}
_LEGEND: Final[Json] = {"displayMode": "list", "placement": "bottom"}
_LEGEND_TABLE: Final[Json] = {
    "displayMode": "table",
    "placement": "right",
    "calcs": ["max", "lastNotNull"],
    "sortBy": "Max",
    "sortDesc": True,
}


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and how each of its series is called."""

    expr: str
    legend: str
    exemplar: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """What a panel says of itself. ``about`` is whole sentences, the metric's name in them."""

    title: str
    about: str
    unit: str


def row(title: str, repeat: str | None = None) -> Json:
    """A heading; with ``repeat``, all below it once for each value of that variable."""
    panel: Json = {
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": {"w": 24, "h": 1},
        "panels": [],
    }
    return panel | ({"repeat": repeat} if repeat else {})


def stat(
    text: Text,
    expr: str,
    *,
    steps: Sequence[tuple[str, float | None]] = (("blue", None),),
    decimals: int | None = None,
    instant: bool = False,
    width: int = 3,
) -> Json:
    """One number; ``steps`` are colours, and from which value on each of them holds."""
    defaults: Json = {
        "mappings": [_EMPTY],
        "noValue": "No traffic",
        "thresholds": {
            "mode": "absolute",
            "steps": [{"color": colour, "value": value} for colour, value in steps],
        },
    }
    if decimals is not None:
        defaults["decimals"] = decimals
    options: Json = {
        "colorMode": "value",
        "graphMode": "none" if instant else "area",
        "reduceOptions": {"calcs": ["lastNotNull"]},
    }
    panel = _panel("stat", text, [Query(expr, text.title)], (width, 4), defaults, options)
    if instant:
        panel["targets"][0] |= {"instant": True, "range": False}
    return panel


def lines(
    text: Text,
    *queries: Query,
    colours: Mapping[str, str] | None = None,
    stacked: bool = False,
    table: bool = False,
    top: float | None = None,
    marks: Sequence[tuple[str, float]] = (),
    width: int = 12,
) -> Json:
    """Lines over time; ``colours`` by the series' name, ``marks`` are dashed lines at a value."""
    custom: Json = {"fillOpacity": 40 if stacked else 0, "lineWidth": 1, "showPoints": "never"}
    defaults: Json = {"min": 0, "custom": custom}
    if top is not None:
        defaults["max"] = top
    if stacked:
        custom["stacking"] = {"mode": "normal", "group": "A"}
    if marks:
        custom["thresholdsStyle"] = {"mode": "dashed"}
        steps: list[Json] = [{"color": "transparent", "value": None}]
        steps += [{"color": colour, "value": value} for colour, value in marks]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    options: Json = {
        "legend": _LEGEND_TABLE if table else _LEGEND,
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return _panel("timeseries", text, queries, (width, 8), defaults, options, _overrides(colours or {}))


def quantiles(text: Text, histogram: str, scope: str, *, more: str = "", width: int = 12) -> Json:
    """Three lines: the half, 19 of 20, and 99 of 100 were faster. With exemplars: request ids."""
    queries = [
        Query(quantile(number, histogram, scope, more=more), name, exemplar=True)
        for name, number in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    ]
    return lines(text, *queries, colours=QUANTILES, width=width)


def states(text: Text, query: Query, colours: Mapping[str, str], *, width: int = 12) -> Json:
    """A bar for each series, in the colour of its state; the states are numbers from 0, in their order."""
    mapping = {
        str(number): {"text": name, "color": colour, "index": number}
        for number, (name, colour) in enumerate(colours.items())
    }
    defaults: Json = {
        "mappings": [{"type": "value", "options": mapping}],
        "custom": {"fillOpacity": 70, "lineWidth": 0},
    }
    options: Json = {
        "alignValue": "left",
        "legend": _LEGEND,
        "mergeValues": True,
        "rowHeight": 0.9,
        "showValue": "auto",
        "tooltip": {"mode": "single"},
    }
    return _panel("state-timeline", text, [query], (width, 8), defaults, options)


def heatmap(text: Text, expr: str, *, width: int = 12) -> Json:
    """How many in which bucket; ``expr`` keeps the label ``le``."""
    options: Json = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Turbo", "exponent": 0.5, "steps": 64},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "unit": text.unit},
    }
    panel = _panel("heatmap", text, [Query(expr, "{{le}}")], (width, 8), {}, options)
    panel["targets"][0]["format"] = "heatmap"
    return panel


def table(
    text: Text,
    *queries: Query,
    labels: Sequence[str],
    units: Mapping[str, str] | None = None,
    width: int = 12,
    height: int = 8,
) -> Json:
    """A line for each set of ``labels``, a column for each query, over all the time that is shown.

    ``units`` are those of the columns, by the queries' legends; the rest have the panel's.
    """
    panel = _panel(
        "table", text, queries, (width, height), {"custom": {"align": "auto"}}, {"showHeader": True}
    )
    for target in panel["targets"]:
        target |= {"format": "table", "instant": True, "range": False}
    value = "Value #{}" if len(queries) > 1 else "Value"
    columns = {value.format(ascii_uppercase[number]): query.legend for number, query in enumerate(queries)}
    order = {label: number for number, label in enumerate((*labels, *columns))}
    organise: Json = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": columns}
    panel["transformations"] = [
        *([{"id": "merge", "options": {}}] if len(queries) > 1 else []),
        {"id": "organize", "options": organise},
    ]
    first = next(iter(columns.values()))
    panel["options"]["sortBy"] = [{"displayName": first, "desc": True}]
    panel["fieldConfig"]["overrides"] = [
        {"matcher": {"id": "byName", "options": column}, "properties": [{"id": "unit", "value": unit}]}
        for column, unit in (units or {}).items()
    ]
    return panel


def _overrides(colours: Mapping[str, str]) -> list[Json]:
    """A name between slashes is a pattern; without them, Grafana would want the whole name to match."""
    return [
        {
            "matcher": {"id": "byRegexp" if name.startswith("/") else "byName", "options": name},
            "properties": [
                {
                    "id": "color",
                    "value": {"mode": "shades" if name.startswith("/") else "fixed", "fixedColor": colour},
                }
            ],
        }
        for name, colour in colours.items()
    ]


def _panel(
    kind: str,
    text: Text,
    queries: Sequence[Query],
    size: tuple[int, int],
    defaults: Json,
    options: Json,
    overrides: Sequence[Json] = (),
) -> Json:
    width, height = size
    return {
        "type": kind,
        "title": text.title,
        "description": text.about,
        "datasource": SOURCE,
        "gridPos": {"w": width, "h": height},
        "targets": [
            {
                "refId": letter,
                "datasource": SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
                **({"exemplar": True} if query.exemplar else {}),
            }
            for letter, query in zip(ascii_uppercase, queries, strict=False)
        ],
        "fieldConfig": {"defaults": {"unit": text.unit, **defaults}, "overrides": list(overrides)},
        "options": options,
    }
