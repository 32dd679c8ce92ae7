"""Rows that were measured, kept as JSON, so that a run may be made in parts; and the page's table.

{"rows": {"drains": {"is_full": true, "seconds": 180, "conditions": {...}, "lines": [...]}}}
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.bench.figures import Line
from tools.bench.table import to_markdown

BEGIN = "<!-- measured: written by `python -m tools.bench --json FILE --write` -->"
END = "<!-- end of what was measured -->"
OF_A_ROW = ("load before", "when", "seconds")
"""Conditions that differ from row to row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One row with the conditions it was measured under."""

    is_full: bool
    seconds: float
    conditions: Mapping[str, str]
    lines: Sequence[Line]

    @property
    def is_broken(self) -> bool:
        """Whether the row could not be measured to its end."""
        return any(line.is_broken for line in self.lines)


def read(path: Path | None) -> dict[str, Measured]:
    """Return the rows of a file; none where there is no file."""
    if path is None or not path.exists():
        return {}
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return {
        name: Measured(**{**row, "lines": [Line(**line) for line in row["lines"]]})
        for name, row in rows.items()
    }


def write(path: Path | None, rows: Mapping[str, Measured]) -> None:
    """Keep all rows, where there is a file for them."""
    if path is None:
        return
    kept = {"rows": {name: asdict(row) for name, row in rows.items()}}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(kept, indent=1, default=str) + "\n", encoding="utf-8")
    part.replace(path)


def merge_conditions(rows: Sequence[Measured]) -> Mapping[str, str]:
    """Return the conditions of several rows: each that differs with all its values."""
    merged: dict[str, list[str]] = {}
    for row in rows:
        for name, text in row.conditions.items():
            seen = merged.setdefault(name, [])
            if text not in seen:
                seen.append(text)
    return {name: _joined(name, texts) for name, texts in merged.items()}


def _joined(name: str, texts: Sequence[str]) -> str:
    if name in OF_A_ROW and len(texts) > 1:
        return f"{min(texts)} to {max(texts)}"
    return "; also ".join(texts)


def write_page(page: Path, rows: Mapping[str, Measured]) -> None:
    """Put the table of all rows between the marks of a page; raise `ValueError` without them."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks the lines {BEGIN} and {END}")
    measured = list(rows.values())
    table = to_markdown(
        [line for row in measured for line in row.lines],
        merge_conditions(measured),
        is_judged=all(row.is_full for row in measured),
    )
    page.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}", encoding="utf-8")
