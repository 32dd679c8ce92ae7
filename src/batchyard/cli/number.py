"""`batchyard number`: the telephone numbers the team calls from."""

from typing import Annotated
from uuid import UUID

import typer

from batchyard.cli import choosing, options, remote, tables
from batchyard.client import Client

number = typer.Typer(no_args_is_help=True, help="Keep the numbers that the team calls from.")

Numbers = Annotated[
    list[str], typer.Argument(help="With its plus, such as +4520123456.", show_default=False)
]


@number.command()
def add(
    number: Numbers,
    *,
    agent: Annotated[
        str | None,
        typer.Option(help="Only this agent calls from it: id or name.", metavar="AGENT"),
    ] = None,
) -> None:
    """Let the team call from numbers; a list that names none of its own takes turns over them.

    An agent with numbers uses only these, every other one those without an agent. Adding a number
    again gives it to another agent, or to all.
    """

    async def give(client: Client) -> None:
        agent_id: UUID | None = None
        if agent is not None:
            agent_id = await choosing.find_agent(client, agent)
        await client.add_numbers(number, agent_id=agent_id)

    remote.ask(give)
    whose = "the team" if agent is None else f"agent {agent}"
    typer.echo(f"{', '.join(number)}: {whose} calls from it.")


@number.command("list")
def list_(*, as_json: options.Json = False) -> None:
    """List the numbers of the team."""
    listed = remote.ask(lambda client: client.numbers())
    if as_json:
        tables.print_json([one.model_dump(mode="json") for one in listed])
        return
    rows = [
        (one.number, one.agent_id or "all", tables.show_minute(one.created_at)) for one in listed
    ]
    tables.print_table(("number", "agent", "added"), rows)


@number.command()
def remove(
    number: Annotated[str, typer.Argument(help="The number.", show_default=False)],
) -> None:
    """Take a number away; batches that were given it keep it."""
    remote.ask(lambda client: client.remove_number(number))
    typer.echo(f"The team calls from {number} no more.")
