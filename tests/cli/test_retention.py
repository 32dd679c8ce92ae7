"""For how many days the team keeps what, by command."""

import json

import pytest

from batchyard.operations import access
from batchyard.operations.retention import DEFAULT_DAYS
from tests.cli.stored import read
from tests.cli.yard import Yard

SHOWN = {name.removesuffix("_days"): {"days": n, "default": n} for name, n in DEFAULT_DAYS.items()}


def shown(server: Yard) -> object:
    return json.loads(server.run("retention", "--json").out)


def test_days_are_shown_set_one_by_one_and_fall_back_to_the_default(server: Yard) -> None:
    run = server.run
    assert shown(server) == SHOWN

    done = run("retention", "set", "items=90", "idempotency=2")

    assert (done.code, done.err) == (0, "")
    assert done.out == "items: kept for 90 days.\nidempotency: kept for 2 days.\n"
    assert run("retention", "set", "idempotency=default", "transcripts=30").out == (
        "idempotency: kept for 1 day, the default.\ntranscripts: kept for 30 days.\n"
    )
    assert shown(server) == SHOWN | {
        "items": {"days": 90, "default": 365},
        "transcripts": {"days": 30, "default": 90},
    }
    table = run("retention").out.splitlines()
    assert table[0].split()[:3] == ["kept", "days", "default"]
    assert table[1].split()[:3] == ["items", "90", "365"]
    assert "refused rows" in table[1]
    assert len(table) == 1 + len(SHOWN)
    days = "SELECT jsonb_build_array(items_days, transcripts_days, events_days, idempotency_days)"
    kept = f"{days} FROM retention WHERE team_id = %s"
    assert server.do(read(server.db, kept, server.team.id)) == [90, 30, None, None]
    newest = json.loads(run("audit", "--json").out.splitlines()[0])
    assert (newest["action"], newest["before"], newest["after"]) == (
        "retention.set",
        {"idempotency_days": 2, "transcripts_days": 90},
        {"idempotency_days": None, "transcripts_days": 30},
    )


@pytest.mark.parametrize(
    "setting,words",
    [
        ("items", ["'items' is no setting", "items=90"]),
        ("letters=30", ["'letters'", "Known: items, transcripts,", "idempotency."]),
        ("items_days=30", ["'items_days'", "Known: items,"]),
        ("items=", ["items: ''", "whole number", "1 to 36500, or default"]),
        ("items=soon", ["items: 'soon'", "whole number", "1 to 36500, or default"]),
        ("items=1.5", ["items: '1.5'", "whole number"]),
        ("items=-1", ["items: '-1'", "whole number"]),
        ("items=\N{ARABIC-INDIC DIGIT THREE}", ["whole number"]),
        ("items=36501", ["items: '36501' is more than the most, 36500 days"]),
        pytest.param(f"items={'9' * 5000}", ["more than the most"], id="long"),
        ("webhooks=31", ["webhooks: '31' is more than the most, 30 days", "1 to 30, or default"]),
        ("idempotency=0", ["idempotency: '0' is less than the least, 1 day", "1 to 36500"]),
        ("events=31", ["events is set twice"]),
    ],
)
def test_what_cannot_be_set_ends_in_one_line_and_changes_nothing(
    server: Yard, setting: str, words: list[str]
) -> None:
    server.run("retention", "set", "events=30", setting).one_line(*words)

    assert shown(server) == SHOWN


def test_setting_nothing_is_wrong_usage(server: Yard) -> None:
    said = server.run("retention", "set")

    assert said.code == 2
    assert "NAME=DAYS" in said.err


def test_days_are_told_and_set_with_the_scope_admin_only(server: Yard) -> None:
    scopes = ("batches:read", "contacts", "audit:read")
    make = access.create_token(server.db, team=server.team, name="few", scopes=scopes)
    token = server.do(make)
    for arguments in ((), ("set", "items=1")):
        said = server.run("retention", *arguments, BATCHYARD_TOKEN=token)
        said.one_line("lacks the scope admin")

    assert shown(server) == SHOWN
