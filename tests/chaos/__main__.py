"""`make chaos`: breaks a whole installation, and shows what came of it."""

import argparse
import asyncio
import sys

from rich.console import Console

from tests.chaos.plan import long_form, short_form
from tests.chaos.report import show
from tests.chaos.run import run, scratch


def main() -> int:
    """Run; return 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--items", type=int, default=10_000, help="at least so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="the form that is part of `make test`")
    parser.add_argument("--keep", action="store_true", help="keep logs and data")
    arguments = parser.parse_args()
    conditions = (
        short_form()
        if arguments.short
        else long_form(seed=arguments.seed, kills=arguments.kills, items=arguments.items)
    )
    console = Console(width=None if sys.stdout.isatty() else 100)
    with scratch(is_kept=arguments.keep) as folder:
        console.print(f"Logs are in {folder}.")
        outcome = asyncio.run(run(conditions, folder))
        show(console, outcome.verdict, outcome.killer, outcome.yard, outcome.seconds)
        for ending in outcome.killer.endings:
            console.print(f"ended by itself: {ending}", markup=False)
        for missed in outcome.killer.steps_missed:
            console.print(f"step not reached: {missed}", markup=False)
        if arguments.keep:
            for one in outcome.yard.programs:
                console.print(str(one.log))
    return 1 if outcome.verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main())
