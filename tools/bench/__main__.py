"""`make bench`: measures everything in one run, and prints one table."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from batchyard.clock import monotonic
from tools.bench import (
    distance,
    drains,
    flood,
    history,
    imports,
    kept,
    limits,
    lists,
    machine,
    million,
    outward,
    paint,
    rivals,
    singles,
    soak,
    table,
)
from tools.bench.figures import FULL, QUICK, Line, Row, Scale, say
from tools.bench.kept import Measured

ROWS: Mapping[str, Row] = {
    "drains": drains.measure,
    "rivals": rivals.measure,
    "outward": outward.measure,
    "imports": imports.measure,
    "million": million.measure,
    "lists": lists.measure,
    "paint": paint.measure,
    "distance": distance.measure,
    "history": history.measure,
    "limits": limits.measure,
    "singles": singles.measure,
    "flood": flood.measure,
    "soak": soak.measure,
}
"""In the order they are measured; each is one file of this folder."""

USUAL = [name for name in ROWS if name != "soak"]
"""Without `--rows`: about half an hour. The soak takes as long again."""


def main() -> int:
    """Measure what was asked for; return 1 when a goal was missed or a row broke."""
    asked = _read_arguments()
    rows = kept.read(asked.json)
    if asked.write is not None:
        kept.write_page(asked.write, {name: rows[name] for name in ROWS if name in rows})
        return 0
    scale = QUICK if asked.quick else FULL
    if asked.soak_minutes is not None:
        scale = replace(scale, soak_minutes=asked.soak_minutes)
    for name in asked.rows:
        if asked.resume and _is_there(rows.get(name), scale):
            say(f"row {name} is there")
            continue
        rows[name] = _measure(name, scale)
        kept.write(asked.json, rows)
    measured = [rows[name] for name in asked.rows]
    lines = [line for row in measured for line in row.lines]
    table.show(lines, kept.merge_conditions(measured), is_judged=scale.is_full)
    return 1 if any(_is_missed(line, scale) for line in lines) else 0


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--rows", type=_read_rows, default=USUAL, help=f"some of {', '.join(ROWS)}; or all"
    )
    parser.add_argument("--quick", action="store_true", help="small: shows that every row works")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keep every figure there, row by row"
    )
    parser.add_argument(
        "--resume", action="store_true", help="leave out the rows that FILE has already"
    )
    parser.add_argument(
        "--write", type=Path, metavar="PAGE", help="measure nothing: put FILE's table into the page"
    )
    parser.add_argument("--soak-minutes", type=float, help=f"else {FULL.soak_minutes:.0f}")
    asked = parser.parse_args()
    if asked.json is None and (asked.resume or asked.write):
        parser.error("--resume and --write need --json FILE")
    return asked


def _read_rows(text: str) -> Sequence[str]:
    names = list(ROWS) if text == "all" else text.split(",")
    if unknown := [name for name in names if name not in ROWS]:
        raise argparse.ArgumentTypeError(f"no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    return names


def _is_there(row: Measured | None, scale: Scale) -> bool:
    return row is not None and row.is_full == scale.is_full and not row.is_broken


def _measure(name: str, scale: Scale) -> Measured:
    """Measure one row; what breaks it is a line of the table, and the others go on."""
    say(f"row {name}")
    lines: list[Line] = []
    conditions, began = machine.describe(scale), monotonic()
    try:
        for line in ROWS[name](scale):
            say(f"{line.title}: {line.figures} {line.ratio}")
            lines.append(line)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is told and counts
        say(f"row {name} broke: {error!r}")
        broke = f"broke: {error!r}"[:300]
        lines.append(Line(title=name, figures=broke, is_met=False, is_broken=True))
    seconds = monotonic() - began
    say(f"row {name} took {seconds:.0f} s")
    return Measured(is_full=scale.is_full, seconds=seconds, conditions=conditions, lines=lines)


def _is_missed(line: Line, scale: Scale) -> bool:
    return line.is_met is False and (scale.is_full or line.is_broken)


if __name__ == "__main__":
    sys.exit(main())
