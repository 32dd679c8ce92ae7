"""The command `batchyard` and all commands below it."""

from typing import Annotated

import typer

import batchyard
from batchyard.cli.backup import backup, restore
from batchyard.cli.demo import demo
from batchyard.cli.dnc import dnc
from batchyard.cli.doctor import doctor
from batchyard.cli.limit import limit
from batchyard.cli.migrate import migrate
from batchyard.cli.number import number
from batchyard.cli.provider import provider
from batchyard.cli.resolve import resolve
from batchyard.cli.restored import restored
from batchyard.cli.resume import resume
from batchyard.cli.route import route
from batchyard.cli.rules import rules
from batchyard.cli.serve import serve
from batchyard.cli.team import team
from batchyard.cli.token import token
from batchyard.cli.unknown import unknown
from batchyard.cli.up import up
from batchyard.cli.user import user
from batchyard.cli.worker import worker

RUN, ADMINISTER, OPERATE = "Run", "Administer", "Operate"

EPILOG = """\
[bold]First steps[/bold]

[green]batchyard up[/green]                           start it, with a PostgreSQL of its own

[green]batchyard token create --team default[/green]  make what clients put behind Bearer

Settings are environment variables. BATCHYARD_DATABASE_URL names a PostgreSQL to use instead.
"""

app = typer.Typer(
    name="batchyard",
    help="Upload a list, watch it run, know what happened to every row.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(rich_help_panel=RUN)(demo)
app.command(rich_help_panel=RUN)(up)
app.command(rich_help_panel=RUN)(serve)
app.command(rich_help_panel=RUN)(worker)
app.command(rich_help_panel=ADMINISTER)(migrate)
app.add_typer(team, name="team", rich_help_panel=ADMINISTER)
team.command("rules")(rules)
app.add_typer(token, name="token", rich_help_panel=ADMINISTER)
app.add_typer(user, name="user", rich_help_panel=ADMINISTER)
app.add_typer(provider, name="provider", rich_help_panel=ADMINISTER)
app.add_typer(route, name="route", rich_help_panel=ADMINISTER)
app.add_typer(limit, name="limit", rich_help_panel=ADMINISTER)
app.add_typer(number, name="number", rich_help_panel=ADMINISTER)
app.add_typer(dnc, name="dnc", rich_help_panel=ADMINISTER)
app.command(rich_help_panel=OPERATE)(doctor)
app.command(rich_help_panel=OPERATE)(unknown)
app.command(rich_help_panel=OPERATE)(resolve)
app.command(rich_help_panel=OPERATE)(backup)
app.command(rich_help_panel=OPERATE)(restore)
app.command(rich_help_panel=OPERATE)(restored)
app.command(rich_help_panel=OPERATE)(resume)


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
