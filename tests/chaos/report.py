"""The one table a run prints."""

from collections import Counter

from rich.console import Console
from rich.table import Table

from tests.chaos.judge import RESUMED_WITHIN_SECONDS, Verdict
from tests.chaos.killer import Killer
from tests.chaos.processes import FOLDER, find_specifications
from tests.chaos.vendors import Vendor
from tests.chaos.yard import Yard

CASES_SHOWN = 40


def show(console: Console, verdict: Verdict, killer: Killer, yard: Yard, seconds: float) -> None:
    """Print conditions and findings, and the cases of every broken promise."""
    table = Table(title="What a crash does", title_justify="left", show_header=True)
    table.add_column("What was done")
    table.add_column("", justify="right")
    for name, value in _conditions(verdict, killer, yard, seconds):
        table.add_row(name, value)
    table.add_section()
    table.add_row("[bold]What came of it[/bold]", "[bold]promised: 0[/bold]")
    for name, value in _findings(verdict, within=RESUMED_WITHIN_SECONDS * yard.conditions.patience):
        table.add_row(name, value)
    console.print(table)
    for promise, cases in verdict.broken.items():
        console.print(f"[bold red]BROKEN[/bold red] {promise}: {len(cases)}")
        for case in cases[:CASES_SHOWN]:
            console.print(f"  {case}", markup=False)
    if not verdict.broken:
        console.print("Every promise held.")


def _conditions(
    verdict: Verdict, killer: Killer, yard: Yard, seconds: float
) -> list[tuple[str, str]]:
    conditions = yard.conditions
    rows = [
        ("outside", conditions.vendor.name if conditions.vendor else "a counting server"),
        *(
            [("exchanges held against", describe_specification(conditions.vendor))]
            if conditions.vendor
            else []
        ),
        ("seed", str(conditions.seed)),
        ("seconds", f"{seconds:.0f}"),
        *([("pace", f"{conditions.pace:g}")] if conditions.pace != 1 else []),
        *([("patience", f"{conditions.patience:g}")] if conditions.patience != 1 else []),
        ("worker processes", str(conditions.workers)),
        ("items", f"{verdict.items.total():,}"),
        *((f"  {policy}", f"{verdict.items[policy]:,}") for policy in yard.teams),
        ("batches", str(verdict.batches)),
        ("kills", f"{killer.kills.total():,}"),
    ]
    rows += [(f"  {kind}", str(n)) for kind, n in sorted(killer.kills.items())]
    rows += [
        (
            f"workers stopped for {conditions.freeze_seconds:.0f} s, then continued",
            str(killer.freezes),
        ),
        ("requests that met a fault", f"{sum(_in_front(verdict.faults, 'callback')[1]):,}"),
        ("callbacks lost, doubled or early", f"{sum(_in_front(verdict.faults, 'callback')[0]):,}"),
        ("effects", f"{verdict.effects.total():,}"),
        *(
            [("ends that nobody told, only looked up", f"{verdict.untold:,}")]
            * bool(verdict.untold)
        ),
    ]
    return rows


def describe_specification(vendor: Vendor) -> str:
    """Say what a vendor's exchanges are held against, or that nothing is."""
    if vendor.specification is None:
        return "the types of its library"
    folder = find_specifications()
    if folder is not None and (folder / vendor.specification).is_file():
        return vendor.specification
    return f"NOTHING: {FOLDER} names no folder with {vendor.specification}"


def _findings(verdict: Verdict, *, within: float) -> list[tuple[str, str]]:
    unknown = verdict.unknown_done + verdict.unknown_not_done
    undecided = (
        f"unknown items that could have been decided, of {unknown}"
        f" ({verdict.unknown_done} done, {verdict.unknown_not_done} not done)"
    )
    resumed = (
        f"resumed later than {within:.0f} s (median"
        f" {verdict.resumed_median:.1f} s, worst {verdict.resumed_worst:.1f} s)"
    )
    rows = [("items lost", str(len(verdict.lost)))]
    rows += [
        (f"items with more than one effect, {policy}", str(len(doubled)))
        for policy, doubled in verdict.doubled.items()
        if verdict.items[policy]
    ]
    rows += [
        ("items whose status is not what was done", str(len(verdict.contradicted))),
        ("items that changed after their end", str(len(verdict.reopened))),
        (
            undecided,
            str(len(verdict.unexplained)),
        ),
        (f"balance checks failed, of {verdict.balance_checks:,}", str(verdict.balance_faults)),
        ("batches not ended exactly once", str(len(verdict.not_ended_once))),
        (
            resumed,
            str(len(verdict.slow)),
        ),
    ]
    return rows


def _in_front(faults: Counter[str], word: str) -> tuple[list[int], list[int]]:
    about = [n for fault, n in faults.items() if fault.startswith(word)]
    others = [n for fault, n in faults.items() if not fault.startswith(word)]
    return about, others
