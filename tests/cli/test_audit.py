"""Every command that changes something leaves its trace: compared with the table of commands."""

import socket
from collections.abc import Iterator

import psycopg
import pytest

from batchyard.cli.main import COMMANDS
from tests.cli.commands import call_here
from tests.cli.stored import KEY, closed_url

TEAM = ("--team", "default")
CHANGING: dict[str, tuple[str, tuple[str, ...]]] = {
    "team create": ("team.create", ("North",)),
    "team rules": ("rules.change", (*TEAM, "--per-day", "2")),
    "token create": ("token.create", (*TEAM, "--name", "till")),
    "token revoke": ("token.revoke", ("1", *TEAM)),
    "user add": ("user.create", ("ann@example.com", *TEAM, "--without-password")),
    "user remove": ("user.remove", ("ann@example.com", *TEAM)),
    "provider add": ("provider.add", ("mill", "--kind", "http", "--allow-private", "--url")),
    "provider change": ("provider.change", ("mill", "--timeout", "20s")),
    "provider pause": ("provider.pause", ("mill", "--reason", "holidays")),
    "provider resume": ("provider.resume", ("mill",)),
    "route set": ("route.set", (*TEAM, "--kind", "shipment", "--provider", "sandbox")),
    "limit set": ("limit.set", ("provider:mill", "--concurrency", "3", "--rate", "5/s")),
    "provider remove": ("provider.remove", ("mill",)),
    "restored": ("database.restored", ()),
}
"""What the log calls it, and what is said; in an order in which each can be done."""

UNTRACED = {
    "demo": "asks a server of its own",
    "up": "runs the server",
    "serve": "runs the server",
    "worker": "works",
    "login": "writes a file of the person",
    "logout": "removes a file of the person",
    "template": "prints",
    "doctor": "reads",
    "migrate": "changes the schema, with its own table of what was done",
    "backup": "reads",
    "restore": "puts another database in place, with the log it has; `restored` is traced",
    "team list": "reads",
    "token list": "reads",
    "user list": "reads",
    "provider list": "reads",
    "provider kinds": "reads",
    "provider test": "reads, and keeps what the provider says it books",
    "route list": "reads",
    "limit list": "reads",
}

ASKING = {
    *("rehearse", "calls", "shipments", "batches", "batch", "watch", "items", "item", "start"),
    *("pause", "resume", "stop", "cancel", "delete", "retry", "report", "mend", "results"),
    *("unknown", "resolve", "void", "agent", "webhook", "audit", "sender", "number", "dnc"),
    *("mapping", "retention"),
}
"""They ask the server, each of whose routes is looked at in tests/api/test_audit.py."""


def names() -> Iterator[str]:
    for entry in COMMANDS:
        command = entry.load()
        inner = getattr(command, "commands", None)
        if inner is None or entry.name in {*ASKING, *UNTRACED}:
            yield entry.name
        else:
            yield from (f"{entry.name} {name}" for name in inner)


def newest(url: str) -> tuple[object, ...]:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT id, action, actor, source, before, after FROM audit_log ORDER BY id DESC"
        ).fetchone()
    return row or (0,)


@pytest.fixture
def traced(database_url: str) -> dict[str, tuple[object, ...]]:
    """Say every changing command; return what the log has of each."""
    found: dict[str, tuple[object, ...]] = {}
    for name, (_, said) in CHANGING.items():
        id_ = newest(database_url)[0]
        url = (closed_url(),) if said[-1:] == ("--url",) else ()
        done = call_here(
            *name.split(),
            *said,
            *url,
            BATCHYARD_DATABASE_URL=database_url,
            BATCHYARD_SECRET_KEY=KEY,
        )
        assert done.exit_code == 0, (name, done.output, done.exception)
        found[name] = newest(database_url)
        assert found[name][0] != id_, name
    return found


def test_every_command_changes_nothing_or_is_traced() -> None:
    assert sorted(names()) == sorted([*CHANGING, *UNTRACED, *ASKING])


def test_changing_commands_leave_who_did_what_from_where(
    traced: dict[str, tuple[object, ...]],
) -> None:
    for name, (_, action, actor, source, _, after) in traced.items():
        assert action == CHANGING[name][0]
        assert str(actor).startswith("cli:")
        assert source == socket.gethostname()
        assert after is not None, name


def test_traces_tell_what_was_before(traced: dict[str, tuple[object, ...]]) -> None:
    before = {name: row[4] for name, row in traced.items() if row[4] is not None}
    assert before["team rules"] == {"attempts_per_day": None}
    assert before["user remove"] == {"scopes": ["admin"], "has_password": False}
    changed = traced["provider change"][5]
    assert isinstance(changed, dict)
    assert changed["settings"]["timeout_seconds"] == 20
    known = before["provider change"]
    assert isinstance(known, dict)
    assert known["allow_private"] is True
    assert before["provider pause"] == {"paused": None}
    assert before["provider resume"] == {"paused": "holidays"}
    assert before["limit set"] == {"concurrency": None, "rates": []}
    assert "route set" not in before
    assert traced["limit set"][5] == {
        "concurrency": 3,
        "rates": [{"count": 5, "seconds": 1}],
    }
