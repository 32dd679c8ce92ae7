"""A stored provider is changed: what was wrong is mended, and what is under way stays findable."""

import json

import pytest

from batchyard.encryption import Vault
from batchyard.errors import ConfigError, Conflict, InvalidRequest, NotFound
from batchyard.models import BatchState, Kind, Phase, Rate
from batchyard.operations import providers
from batchyard.operations.provider_changes import change_provider
from batchyard.providers.twilio_settings import TwilioSettings
from batchyard.store.db import Database
from tests.cli.stored import KEY, add_http, closed_url, read, write
from tests.factories import make_batch, make_items, make_team

VAULT = Vault(KEY)
SECRET = "d2hhdGV2ZXItaXQtaXMtdGhhdC1pcy1sb25n"
SETTINGS = "SELECT settings FROM providers WHERE name = %s"
LOCKED = "SELECT secret FROM providers WHERE name = %s"
CEILING = """
SELECT jsonb_build_object('at once', l.concurrency, 'rates',
           (SELECT jsonb_object_agg(r.seconds, r.count) FROM rates r WHERE r.key = l.key))
  FROM limits l WHERE l.key LIKE 'provider:%%'
"""


async def test_what_is_named_changes_and_the_rest_stays(db: Database) -> None:
    await add_http(db, "carrier", timeout_seconds=5, look_up_after_seconds=9)
    url = await read(db, "SELECT settings ->> 'url' FROM providers WHERE name = 'carrier'")
    changed = await change_provider(
        db,
        VAULT,
        name="carrier",
        settings={"timeout_seconds": 7, "look_up_after_seconds": None},
        secrets=SECRET,
        allow_private=False,
    )
    assert await read(db, SETTINGS, "carrier") == {
        "url": url,
        "policy": "neither",
        "timeout_seconds": 7,
    }
    locked = await read(db, LOCKED, "carrier")
    assert isinstance(locked, bytes)
    assert VAULT.open(locked) == SECRET
    assert "may not be reached" in changed.remarks[0]
    assert changed.before["settings"] != changed.after["settings"]
    assert (changed.before["has_secret"], changed.after["has_secret"]) == (False, True)
    assert SECRET not in json.dumps([changed.before, changed.after])


async def test_what_its_kind_refuses_changes_nothing(db: Database) -> None:
    await add_http(db, "carrier")
    before = await read(db, SETTINGS, "carrier")
    with pytest.raises(ConfigError, match="timeout_seconds"):
        await change_provider(db, VAULT, name="carrier", settings={"timeout_seconds": 0})
    with pytest.raises(ConfigError, match="url"):
        await change_provider(db, VAULT, name="carrier", settings={"url": None})
    with pytest.raises(ConfigError, match="base64"):
        await change_provider(db, VAULT, name="carrier", settings={}, secrets="no secret")
    with pytest.raises(InvalidRequest, match="Say what to change"):
        await change_provider(db, VAULT, name="carrier", settings={})
    with pytest.raises(NotFound):
        await change_provider(db, VAULT, name="nobody", settings={"timeout_seconds": 3})
    with pytest.raises(Conflict, match="BATCHYARD_SANDBOX_SPEED"):
        await change_provider(db, VAULT, name="sandbox", settings={"speed": 3})
    assert await read(db, SETTINGS, "carrier") == before


async def test_secret_whose_key_is_lost_is_stored_again(db: Database) -> None:
    await add_http(db, "carrier")
    await change_provider(db, VAULT, name="carrier", settings={}, secrets=SECRET)
    new = Vault("the key after the loss of the old one")
    with pytest.raises(ConfigError, match="provider change"):
        await change_provider(db, new, name="carrier", settings={"timeout_seconds": 3})
    await change_provider(db, new, name="carrier", settings={}, secrets=SECRET)
    locked = await read(db, LOCKED, "carrier")
    assert isinstance(locked, bytes)
    assert new.open(locked) == SECRET


async def add_twilio(db: Database, name: str, account: str) -> None:
    await providers.add_provider(
        db,
        VAULT,
        name=name,
        kind="twilio",
        settings={
            "account_sid": account,
            "api_key_sid": f"SK{'1' * 32}",
            "say": "Hello.",
            "base_url": closed_url(),
            "calls_per_second": 5,
        },
        secret=json.dumps({"auth_token": "old", "api_key_secret": "other"}),
        allow_private=True,
    )


async def test_one_of_several_secrets_changes_and_the_others_stay(db: Database) -> None:
    await add_twilio(db, "phone", f"AC{'1' * 32}")
    await change_provider(db, VAULT, name="phone", settings={}, secrets={"auth_token": "new"})
    locked = await read(db, LOCKED, "phone")
    assert isinstance(locked, bytes)
    assert json.loads(VAULT.open(locked)) == {"auth_token": "new", "api_key_secret": "other"}
    # What cannot be read any more must be said whole, as far as it is needed.
    lost = Vault("the key after the loss of the old one")
    with pytest.raises(ConfigError, match="auth_token"):
        await change_provider(db, lost, name="phone", settings={}, secrets={"api_key_secret": "x"})


async def test_account_of_another_provider_is_refused(db: Database) -> None:
    await add_twilio(db, "one", f"AC{'1' * 32}")
    await add_twilio(db, "two", f"AC{'2' * 32}")
    with pytest.raises(Conflict, match="'one' has this account_sid already"):
        await change_provider(db, VAULT, name="two", settings={"account_sid": f"AC{'1' * 32}"})
    await change_provider(db, VAULT, name="two", settings={"calls_per_second": 3})


async def test_limits_change_by_themselves(db: Database) -> None:
    await add_http(db, "carrier")
    for rate, concurrency in (
        (Rate(count=100, seconds=60), None),
        (None, 3),
        (Rate(count=5, seconds=1), None),
    ):
        await change_provider(
            db, VAULT, name="carrier", settings={}, rate=rate, concurrency=concurrency
        )
    assert await read(db, CEILING) == {"at once": 3, "rates": {"1": 5}}


async def test_pace_of_its_own_settings_follows_them(db: Database) -> None:
    """A worker stores the pace that nobody set; one that somebody set stays."""
    await add_twilio(db, "phone", f"AC{'1' * 32}")
    pace = (
        "INSERT INTO rates (key, seconds, count, burst, tokens, refilled_at)"
        " SELECT 'provider:' || id, %s, %s, 1, 1, now() FROM providers WHERE name = 'phone'"
    )
    await write(db, "INSERT INTO limits (key) SELECT 'provider:' || id FROM providers")
    await change_provider(db, VAULT, name="phone", settings={"calls_per_second": 10})
    own = own_pace(calls_per_second=10)
    await write(db, pace, own.seconds, own.count)
    changed = await change_provider(db, VAULT, name="phone", settings={"calls_per_second": 2})
    assert await read(db, "SELECT count(*) FROM rates") == 0
    assert changed.before["rates"] == [{"count": own.count, "seconds": own.seconds}]
    assert changed.after["rates"] == []
    await write(db, pace, 60, 7)
    changed = await change_provider(db, VAULT, name="phone", settings={"calls_per_second": 10})
    assert changed.after["rates"] == [{"count": 7, "seconds": 60}]
    assert await read(db, "SELECT count(*) FROM rates") == 1


def own_pace(*, calls_per_second: int) -> Rate:
    rate = TwilioSettings(
        account_sid=f"AC{'1' * 32}", say="Hello.", calls_per_second=calls_per_second
    ).rate
    assert rate is not None
    return rate


@pytest.mark.parametrize(
    "phase,status,words",
    [
        (Phase.CALLING, "sending", "2 items are in flight"),
        (Phase.LIVE, "processing", "2 items are in flight"),
        (Phase.UNKNOWN, "unknown", "2 are unknown"),
    ],
)
async def test_place_stays_while_something_there_could_be_asked_about(
    db: Database, phase: Phase, status: str, words: str
) -> None:
    await add_http(db, "carrier")
    team = await make_team(db)
    batch_id = await make_batch(db, team=team, state=BatchState.RUNNING)
    await make_items(db, team=team, batch_id=batch_id, n=2, phase=phase, status=status)
    await write(
        db,
        "UPDATE items SET intent_at = now(), provider_id ="
        " (SELECT id FROM providers WHERE name = 'carrier')",
    )
    # A port that was let go may be given once more.
    moved = {"url": f"{closed_url()}/elsewhere"}
    with pytest.raises(Conflict, match=f"^url: by this items are found.*{words}"):
        await change_provider(db, VAULT, name="carrier", settings=moved)
    await change_provider(db, VAULT, name="carrier", settings={"timeout_seconds": 3})
    await write(db, "UPDATE items SET phase = 'done', status = 'failed'")
    await change_provider(db, VAULT, name="carrier", settings=moved)


async def test_place_changes_only_while_nothing_can_come(db: Database) -> None:
    await add_http(db, "carrier")
    team = await make_team(db)
    await providers.set_route(db, team=team, kind=Kind.SHIPMENT, agent_id=None, provider="carrier")
    moved = {"result_url": closed_url()}
    with pytest.raises(Conflict, match=r"may still be given items.*provider pause carrier"):
        await change_provider(db, VAULT, name="carrier", settings=moved)
    await providers.pause_provider(db, name="carrier", reason="moves")

    batch_id = await make_batch(db, team=team, state=BatchState.PAUSED)
    await write(db, "UPDATE batches SET restored_at = now() WHERE id = %s", batch_id)
    with pytest.raises(Conflict, match="a restored batch will ask there first"):
        await change_provider(db, VAULT, name="carrier", settings=moved)
    await write(db, "UPDATE batches SET restored_at = NULL")

    changed = await change_provider(db, VAULT, name="carrier", settings=moved)
    assert changed.paused_reason == "moves"


async def test_place_that_is_said_again_as_it_is_does_not_change(db: Database) -> None:
    await add_http(db, "carrier")
    team = await make_team(db)
    await providers.set_route(db, team=team, kind=Kind.SHIPMENT, agent_id=None, provider="carrier")
    url = await read(db, "SELECT settings ->> 'url' FROM providers WHERE name = 'carrier'")
    same = {"url": url, "result_url": None}
    await change_provider(db, VAULT, name="carrier", settings=same)
