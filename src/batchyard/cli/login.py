"""`batchyard login` and `logout`: which server the commands speak to, and as whom."""

import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from batchyard import config
from batchyard.cli import exit_codes, logins, remote
from batchyard.cli.logins import Login
from batchyard.client import Client, Team
from batchyard.errors import InvalidRequest

LONGEST_TOKEN = 1000


def login(
    url: Annotated[
        str | None,
        typer.Argument(
            help="Address of the server, such as https://batches.example.com.",
            metavar="[URL]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Keep a server's address and a token for the other commands.

    Asks for both at a terminal; otherwise the token is read from standard input, as in
    `batchyard token create --team default | batchyard login http://127.0.0.1:8080`. Both are tried,
    then kept in a file that only you can read. BATCHYARD_URL and BATCHYARD_TOKEN win over it.
    """
    settings = config.load()
    is_asking = sys.stdin.isatty()
    if url is None and is_asking:
        url = typer.prompt("Server", default=settings.server_url)
    address = _check_url(url or settings.server_url)
    if is_asking:
        token = typer.prompt("Token (not shown)", hide_input=True)
    else:
        token = sys.stdin.readline(LONGEST_TOKEN)
    if not token.strip():
        raise InvalidRequest("There is no token at standard input.")
    made = Login(url=address, token=token.strip())
    told = remote.run_as(made, _team)
    path = config.login_file()
    logins.write(path, made)
    typer.echo(f"You speak for the team {told.name} ({told.slug}) at {address}.")
    typer.echo(f"The token may: {', '.join(told.scopes)}. Kept in {path}.", err=True)
    if _is_overheard(address):
        typer.echo("Others on the way can read the token: the address is no https.", err=True)
    if settings.url is not None or settings.token is not None:
        typer.echo("BATCHYARD_URL or BATCHYARD_TOKEN is set, and wins over this login.", err=True)


def logout() -> None:
    """Forget the server's address and the token.

    The token goes on working; revoke it where it was made. Exit code 1 when there was no login.
    """
    if not logins.remove(config.login_file()):
        typer.echo("There was no login.", err=True)
        raise typer.Exit(exit_codes.NOT_SO)
    typer.echo("Forgotten.")


async def _team(client: Client) -> Team:
    return await client.team()


def _check_url(text: str) -> str:
    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        is_one = False
    if not is_one or any(character.isspace() for character in url):
        raise InvalidRequest(f"{text!r} is no address such as https://batches.example.com.")
    return url


def _is_overheard(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}
