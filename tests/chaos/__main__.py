"""`make chaos`: breaks a whole installation, and shows what came of it.

The long form does so over the counting server, then over the fake of each vendor in turn.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from tests.chaos.plan import Conditions, long_form, over, short_form
from tests.chaos.report import show
from tests.chaos.run import run, scratch
from tests.chaos.vendors import VENDORS

COUNTING = "counting"
"""The outside that is no vendor: the counting server."""
IN_TURN = (COUNTING, "karrio", "twilio", "telnyx")


def main() -> int:
    """Run; return 1 when a promise was broken over any of them."""
    arguments = read_arguments(sys.argv[1:])
    console = Console(width=None if sys.stdout.isatty() else 100)
    # Every one is run, whatever came of those before.
    kept = [_run(one, console, is_kept=arguments.keep) for one in list_conditions(arguments)]
    return 0 if all(kept) else 1


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="over each outside")
    parser.add_argument("--items", type=int, default=10_000, help="at least so many, over each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="the form that is part of `make test`")
    parser.add_argument(
        "--provider",
        choices=IN_TURN,
        help="run over this one only: the counting server, or the fake of a vendor by its own "
        "provider; the short form is over the counting server unless told",
    )
    parser.add_argument(
        "--pace", type=float, default=1, help="so many times as long from blow to blow"
    )
    parser.add_argument("--patience", type=float, default=1, help="so many times as long to wait")
    parser.add_argument("--keep", action="store_true", help="keep logs and data")
    return parser.parse_args(words)


def list_conditions(arguments: argparse.Namespace) -> list[Conditions]:
    """Return what is run, one after the other."""
    conditions = (
        short_form()
        if arguments.short
        else long_form(seed=arguments.seed, kills=arguments.kills, items=arguments.items)
    )
    conditions = replace(conditions, pace=arguments.pace, patience=arguments.patience)
    every = IN_TURN[:1] if arguments.short else IN_TURN
    names = every if arguments.provider is None else (arguments.provider,)
    return [conditions if one == COUNTING else over(VENDORS[one], conditions) for one in names]


def _run(conditions: Conditions, console: Console, *, is_kept: bool) -> bool:
    """Run over one outside and print its table; tell whether every promise held."""
    with scratch(is_kept=is_kept) as folder:
        console.print(f"Logs are in {folder}.")
        outcome = asyncio.run(run(conditions, folder))
        show(console, outcome.verdict, outcome.killer, outcome.yard, outcome.seconds)
        for ending in outcome.killer.endings:
            console.print(f"ended by itself: {ending}", markup=False)
        for missed in outcome.killer.steps_missed:
            console.print(f"step not reached: {missed}", markup=False)
        if is_kept:
            for one in outcome.yard.programs:
                console.print(str(one.log))
    return not outcome.verdict.broken


if __name__ == "__main__":
    sys.exit(main())
