"""Every command that reads has `--json`, and prints JSON with it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from batchyard.cli.main import COMMANDS
from batchyard.models import BatchState, Phase
from tests.cli.commands import call_here
from tests.cli.stored import KEY
from tests.cli.yard import Yard
from tests.factories import make_batch, make_items

DOES = frozenset(
    {
        *("demo", "up", "serve", "worker", "login", "logout"),
        *("template calls", "template shipments"),
        *("calls", "shipments", "mend"),
        *("start", "pause", "resume", "stop", "cancel", "delete", "retry"),
        *("resolve", "void"),
        *("migrate", "backup", "restore", "restored"),
        *("agent add", "number add", "number remove", "dnc add", "dnc remove", "sender set"),
        *("mapping save", "mapping remove"),
        *("webhook add", "webhook test", "webhook enable", "webhook disable", "webhook remove"),
        "webhook replay",
        *("team create", "token create", "token revoke", "user add", "user remove"),
        *("provider add", "provider change", "provider remove"),
        *("provider pause", "provider resume"),
        *("route set", "limit set", "retention set"),
    }
)
"""Commands that do something, or make a file to start from; every other one reads."""


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command with its whole name."""
    for entry in COMMANDS:
        command = entry.load()
        if getattr(command, "invoke_without_command", True):
            yield entry.name, command
        for name, one in getattr(command, "commands", {}).items():
            yield f"{entry.name} {name}", one


KNOWN = dict(commands())
READING = [name for name in KNOWN if name not in DOES]


def test_what_does_something_is_there() -> None:
    assert DOES - KNOWN.keys() == set()
    assert len(READING) > 20


@pytest.fixture
def values(server: Yard, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Return what every argument that a reading command needs can be."""

    async def prepare() -> tuple[str, str]:
        batch = await make_batch(server.db, team=server.team, state=BatchState.COMPLETED)
        [item] = await make_items(
            server.db, team=server.team, batch_id=batch, phase=Phase.DONE, status="booked"
        )
        return str(batch), str(item)

    batch, item = server.do(prepare())
    file = tmp_path_factory.mktemp("list") / "list.csv"
    file.write_text("contact_number\n+4520123456\n")
    return {
        "batch": batch,
        "item": item,
        "file": str(file),
        "name": "sandbox",
        "team": server.team.slug,
    }


@pytest.mark.parametrize("name", READING)
def test_reading_command_prints_json(name: str, server: Yard, values: Mapping[str, str]) -> None:
    needed: list[str] = []
    for one in KNOWN[name].params:
        if one.required:
            named = one.opts[:1] if one.param_type_name == "option" else []
            needed += [*named, values[one.name]]

    result = call_here(
        *name.split(),
        *needed,
        "--json",
        COLUMNS="100",
        XDG_CONFIG_HOME="/nowhere",
        BATCHYARD_DATABASE_URL=server.db.url,
        BATCHYARD_SECRET_KEY=KEY,
        **server.environment(),
    )

    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in {0, 1}, result.stderr
    assert is_json(result.stdout), result.stdout


def is_json(text: str) -> bool:
    """Tell whether a text is one document of JSON, or one in each line."""
    try:
        json.loads(text)
    except ValueError:
        for line in text.splitlines():
            json.loads(line)
    return True
