"""The command `batchyard`: a table of its commands, each loaded when it is run."""

from typing import Annotated

import typer

import batchyard
from batchyard.cli.lazy import Entry, LazyGroup

RUN, LISTS, BATCHES, OPERATE = "Run", "Lists", "Batches", "Operate"
TEAM, ADMINISTER = "The team", "Administer"

EPILOG = """\
[bold]First steps[/bold]

[green]batchyard up[/green]                                             start it

[green]batchyard token create --team default | batchyard login[/green]  speak to it

[green]batchyard template shipments > list.csv[/green]                  a list to fill in

[green]batchyard shipments list.csv --watch[/green]                     run it

Settings are environment variables. BATCHYARD_DATABASE_URL names a PostgreSQL to use instead of the
one that comes with it. Exit codes: 0 done, 1 the answer is no, 2 refused or not reached.
"""

# What a command says of itself stands here too, so that help need not load them all; a test
# compares the two.
COMMANDS = (
    Entry(
        "demo", RUN, "Load two example lists through the doors and show what becomes of every row."
    ),
    Entry("up", RUN, "Run the server and a worker in one process."),
    Entry("serve", RUN, "Run the web server only; workers run beside it."),
    Entry("worker", RUN, "Run a worker; start as many as you like, on as many machines."),
    Entry("login", RUN, "Keep a server's address and a token for the other commands."),
    Entry(
        "logout",
        RUN,
        "Forget the server's address and the token.",
        module="login",
    ),
    Entry("template", LISTS, "Print a list to start from, as CSV."),
    Entry(
        "rehearse",
        LISTS,
        "Say what a file would do: verdicts, attempts, cost, time, limits.",
    ),
    Entry("calls", LISTS, "Upload a list of calls, and start it."),
    Entry(
        "shipments", LISTS, "Upload a list of shipments, and start booking them.", module="calls"
    ),
    Entry("batches", BATCHES, "List the team's batches, the newest first."),
    Entry("batch", BATCHES, "Show a batch: its counts, and why it waits.", module="batches"),
    Entry(
        "watch",
        BATCHES,
        "Follow a batch until it has ended, on a live screen.",
    ),
    Entry("items", BATCHES, "List the items of a batch."),
    Entry(
        "item",
        BATCHES,
        "Show an item: every attempt, its result, why it waits.",
        module="items",
    ),
    Entry(
        "start",
        BATCHES,
        "Start batches that were only uploaded, now or at a time.",
        module="steer",
    ),
    Entry(
        "pause",
        BATCHES,
        "Send nothing more until resumed; what is out finishes.",
        module="steer",
    ),
    Entry("resume", BATCHES, "Let paused batches go on.", module="steer"),
    Entry(
        "stop",
        BATCHES,
        "End batches: what was not sent never is, what is out finishes.",
        module="steer",
    ),
    Entry(
        "cancel",
        BATCHES,
        "Cancel batches that were never started.",
        module="steer",
    ),
    Entry(
        "delete",
        BATCHES,
        "Delete batches in any state, with all they know.",
        module="steer",
    ),
    Entry(
        "retry",
        BATCHES,
        "Try failed items of a batch again, under new keys.",
        module="steer",
    ),
    Entry(
        "report",
        LISTS,
        "Tell which rows were refused, why, and what to do.",
    ),
    Entry(
        "mend",
        LISTS,
        "Send corrected rows back into their batch.",
        module="report",
    ),
    Entry("results", BATCHES, "Write the results of a batch into a file."),
    Entry("unknown", BATCHES, "List items that may have been done: nobody here knows."),
    Entry("resolve", BATCHES, "Decide unknown outcomes; `batchyard unknown` lists them."),
    Entry("void", BATCHES, "Take back a booked shipment, where its provider does that."),
    Entry("agent", TEAM, "Name those who speak in calls."),
    Entry("mapping", TEAM, "Keep what the columns of lists mean, for lists to come."),
    Entry("webhook", TEAM, "Tell other programs what happens, and see what was told."),
    Entry("audit", TEAM, "List who changed what in the team, the newest first."),
    Entry(
        "doctor",
        OPERATE,
        "Look at all that must be right; each line is ok, or a cure.",
    ),
    Entry("migrate", OPERATE, "Bring the database to this version's schema."),
    Entry(
        "backup",
        OPERATE,
        "Write the private database into FILE; everything may go on running meanwhile.",
    ),
    Entry(
        "restore",
        OPERATE,
        "Put a backup into an empty data folder, or with --replace in place of what is there.",
        module="backup",
    ),
    Entry("restored", OPERATE, "Take a database into use that was restored from a backup."),
    Entry("team", ADMINISTER, "Make teams, the tenants of an installation."),
    Entry("token", ADMINISTER, "Make tokens, with which clients speak for a team."),
    Entry("user", ADMINISTER, "Let people in, list and remove them."),
    Entry("provider", ADMINISTER, "Connect providers, who do the items in the outside world."),
    Entry("route", ADMINISTER, "Lead items to providers."),
    Entry("limit", ADMINISTER, "Limit what is in flight and how fast items start; strictest wins."),
    Entry("sender", TEAM, "Say where the team sends its shipments from."),
    Entry("number", TEAM, "Keep the numbers that the team calls from."),
    Entry("dnc", TEAM, "Keep the list of numbers that are never called."),
    Entry("retention", TEAM, "Show for how many days the team keeps what, and set it."),
)


class Commands(LazyGroup):
    """All commands."""

    entries = COMMANDS


app = typer.Typer(
    name="batchyard",
    cls=Commands,
    help="Upload a list, watch it run, know what happened to every row.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"batchyard {batchyard.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Upload a list, watch it run, know what happened to every row."""
