"""`batchyard agent`: who speaks in calls."""

from typing import Annotated

import typer

from batchyard.cli import options, remote, tables

agent = typer.Typer(no_args_is_help=True, help="Name those who speak in calls.")


@agent.command()
def add(
    name: Annotated[str, typer.Argument(help="What people call it.", show_default=False)],
) -> None:
    """Make an agent that has a name so far; print its id."""
    typer.echo(remote.ask(lambda client: client.create_agent(name)))


@agent.command("list")
def list_(*, as_json: options.Json = False) -> None:
    """List the team's agents, the oldest first."""
    rows = remote.ask(lambda client: client.agents())
    if as_json:
        tables.print_json([row.model_dump(mode="json") for row in rows])
        return
    if not rows:
        typer.echo("There is none yet: batchyard agent add NAME")
        return
    listed = [(row.id, row.name, tables.show_time(row.created_at)) for row in rows]
    tables.print_table(("agent", "name", "made"), listed)
