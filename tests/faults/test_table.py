"""docs/faults.md names each row of the table, and tests that are there."""

import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OPERATIONS = HERE.parent / "operations"
TABLE = (ROOT / "docs" / "faults.md").read_text()


def test_every_row_has_its_tests() -> None:
    """50 rows; each has a test."""
    rows = re.findall(r"^\| (\d+) \|.*\|(.*)\|$", TABLE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 51))
    assert all(tests.strip() for _, tests in rows)


def test_every_test_is_told_of() -> None:
    """No test is named that is not there, and none that shows a row is left out."""
    files = [*HERE.glob("test_*.py"), *OPERATIONS.glob("test_*.py")]
    there = set(re.findall(r"^(?:async )?def (test_\w+)", "".join(map(_text, files)), re.M))
    named = set(re.findall(r"`(test_\w+)`", TABLE))
    assert named <= there
    assert {name for name in there if name.startswith("test_row")} <= named
    for path in re.findall(r"`(tests/[\w/]+\.py)`", TABLE):
        assert (ROOT / path).is_file()


def _text(path: Path) -> str:
    return path.read_text()
