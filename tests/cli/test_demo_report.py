"""What the demo shows, on a terminal and in a file."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from batchyard.cli import demo_report
from batchyard.cli.demo_lists import Ledger, RefusedRow, Standing


class ScriptedList:
    """A list that goes through given standings."""

    title = "Calls"
    list_path = "/calls"
    newest = "?n=3"

    def __init__(self, *standings: Standing) -> None:
        self._standings: Iterator[Standing] = iter(standings)
        self._last = standings[-1]

    async def load(self) -> None:
        raise AssertionError("loaded before")

    async def standing(self) -> Standing:
        return next(self._standings, self._last)

    async def ledger(self) -> Ledger:
        return Ledger(rows=0, refused=(), total=0, counts={})

    async def listed(self) -> object:
        return []


@pytest.fixture
def ran() -> ScriptedList:
    return ScriptedList(
        Standing(done=1, total=20, has_ended=False), Standing(done=20, total=20, has_ended=True)
    )


async def test_follow_draws_a_bar_on_a_terminal(ran: ScriptedList) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)

    await demo_report.follow(console, [ran])

    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "━" in shown
    assert "20/20" in shown


async def test_follow_prints_plain_lines_in_a_file(ran: ScriptedList) -> None:
    console = Console(file=io.StringIO(), width=80)

    await demo_report.follow(console, [ran])

    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "Calls: 1 of 20\nCalls: 20 of 20\n"


def test_print_refused_shows_cells_as_they_are() -> None:
    console = Console(file=io.StringIO(), width=80)
    row = RefusedRow(line=7, value="[bold]+45[/bold]", code="phone_letters", reason="No digits.")

    demo_report.print_refused(
        console, title="Calls", ledger=Ledger(rows=1, refused=[row], total=0, counts={})
    )

    assert isinstance(console.file, io.StringIO)
    assert "│    7 │ [bold]+45[/bold] │ phone_letters │ No digits. │" in console.file.getvalue()


@pytest.mark.parametrize(
    "ledger",
    [
        Ledger(rows=3, refused=(), total=3, counts={"booked": 2}),
        Ledger(rows=4, refused=(), total=3, counts={"booked": 3}),
    ],
)
def test_ledger_that_misses_a_row_is_not_balanced(ledger: Ledger) -> None:
    assert not ledger.is_balanced


def test_ledger_that_has_every_row_is_balanced() -> None:
    assert Ledger(rows=3, refused=(), total=3, counts={"booked": 2, "failed": 1}).is_balanced
