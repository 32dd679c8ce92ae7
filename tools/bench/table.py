"""The one table of a run: for a terminal, and for the page that keeps it."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from tools.bench.figures import Line

HEADINGS = ("row", "figures", "ratio", "goal", "met")


def show(lines: Sequence[Line], conditions: Mapping[str, str], *, is_judged: bool) -> None:
    """Print the table with its conditions."""
    table = Table(title="make bench", title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for line in lines:
        table.add_row(*_cells(line, is_judged=is_judged))
    console = Console()
    console = console if console.is_terminal else Console(width=150)
    console.print(table, markup=False)
    for name, text in conditions.items():
        console.print(f"{name}: {text}", markup=False, highlight=False)


def to_markdown(lines: Sequence[Line], conditions: Mapping[str, str], *, is_judged: bool) -> str:
    """Write the table as a page has it."""
    rows = [HEADINGS, tuple("---" for _ in HEADINGS)]
    rows += [_cells(line, is_judged=is_judged) for line in lines]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    told = "\n".join(f"* {name}: {text}" for name, text in conditions.items())
    return f"{table}\n\n{told}\n"


def _cells(line: Line, *, is_judged: bool) -> tuple[str, ...]:
    verdict = {True: "met", False: "short", None: ""}[line.is_met if is_judged else None]
    return line.title, line.figures, line.ratio, line.goal, verdict
