"""How people name a batch or an agent, and how they are asked before something is done."""

import sys
from typing import Annotated
from uuid import UUID

import typer

from batchyard.cli import exit_codes
from batchyard.client import Batch, Client
from batchyard.errors import InvalidRequest, NotFound

LATEST = "latest"


def check_batch(text: str) -> str:
    """Return a batch as it was named; raise `InvalidRequest` for what can be none."""
    if text == LATEST:
        return text
    try:
        return str(UUID(text))
    except ValueError as error:
        raise InvalidRequest(
            f"{text!r} is no id of a batch, and not `{LATEST}`. See: batchyard batches."
        ) from error


BatchName = Annotated[
    str,
    typer.Argument(
        parser=check_batch,
        help="Its id, or `latest`.",
        metavar="BATCH",
        show_default=False,
    ),
]

BatchNames = Annotated[
    list[str],
    typer.Argument(
        parser=check_batch,
        help="Their ids, or `latest`.",
        metavar="BATCH",
        show_default=False,
    ),
]

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


async def find_batch(client: Client, name: str) -> UUID:
    """Return the id of a batch; raise `NotFound` where `latest` names none."""
    if name != LATEST:
        return UUID(name)
    async for batch in client.batches(limit=1):
        return batch.id
    raise NotFound("There is no batch yet. Begin: batchyard calls FILE, or shipments FILE.")


async def find_agent(client: Client, text: str) -> UUID:
    """Return the agent of this id or name; raise `InvalidRequest` naming those there are."""
    try:
        return UUID(text)
    except ValueError:
        agents = await client.agents()
    found = [agent.id for agent in agents if agent.name == text]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(str(agent_id) for agent_id in found)
        raise InvalidRequest(f"Several agents are called {text!r}; say which: {ids}.")
    known = ", ".join(agent.name for agent in agents) or "none yet"
    raise InvalidRequest(f"There is no agent {text!r}. Known: {known}.")


def name_batch(batch: Batch) -> str:
    """Return what people call a batch."""
    return batch.reference or batch.identifier or batch.file_name or str(batch.id)


def count(n: int, what: str) -> str:
    """Write how many of a thing there are; in English."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def confirm(sentence: str, *, is_sure: bool) -> None:
    """Ask whether to go on, unless told not to; end the command with 1 when declined.

    Raises `InvalidRequest` where nobody can be asked.
    """
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise InvalidRequest(f"{sentence} Add --yes to do that without being asked.")
    if not typer.confirm(f"{sentence} Go on?"):
        typer.echo("Nothing was changed.")
        raise typer.Exit(exit_codes.NOT_SO)
