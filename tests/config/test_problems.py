"""Problems and their places."""

from __future__ import annotations

from pathlib import Path

from openai_proxy.config.problems import ConfigError, Problem, did_you_mean, dotted


def test_a_place_is_written_as_people_point_at_it() -> None:
    """Keys with dots, numbers of entries, and names that would not stand out or break a line in quotes."""
    assert dotted(("providers", "azure", "base_url")) == "providers.azure.base_url"
    assert dotted(("models", "gpt-4.1", "targets", 0)) == "models['gpt-4.1'].targets[0]"
    assert dotted(("a\nb",)) == "['a\\nb']"
    assert dotted(()) == ""


def test_an_error_has_all_problems_in_the_order_of_the_file() -> None:
    """File, line, place and message; what has no line comes first."""
    error = ConfigError(
        Path("f.yaml"),
        [Problem(("b",), 7, "late"), Problem(("a",), 2, "early"), Problem((), None, "no file at all")],
    )
    assert error.lines() == ["f.yaml: no file at all", "f.yaml:2: a: early", "f.yaml:7: b: late"]
    assert str(error).splitlines() == error.lines()


def test_a_name_that_is_near_is_suggested() -> None:
    """And none where none is."""
    assert did_you_mean("base_ul", ["base_url", "like"]) == "; did you mean 'base_url'?"
    assert did_you_mean("zzz", ["base_url", "like"]) == ""
