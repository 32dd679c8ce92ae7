"""The do-not-contact list and the team's rules through the operator API."""

import pytest

from tests import factories
from tests.api.operator.conftest import Client, Clients

NUMBER = "+4520123456"


async def test_numbers_are_added_listed_in_pages_and_removed(client: Client) -> None:
    for digit in range(3):
        body = {"number": f"+45 20 12 34 5{digit}", "reason": "asked"}
        made = await client.post("/contacts/do-not-contact", body)
        assert made.status_code == 201, made.text
        assert made.json()["number"] == f"+452012345{digit}"
    first = (await client.get("/contacts/do-not-contact", limit=2)).json()
    rest = (
        await client.get("/contacts/do-not-contact", limit=2, cursor=first["next_cursor"])
    ).json()
    numbers = [row["number"] for row in first["data"] + rest["data"]]
    assert numbers == ["+4520123450", "+4520123451", "+4520123452"]
    assert rest["next_cursor"] is None
    path = "/contacts/do-not-contact/%2B4520123450"
    assert (await client.delete(path)).status_code == 204
    assert (await client.delete(path)).status_code == 404


@pytest.mark.parametrize(
    "body", [{"number": "nobody"}, {"number": NUMBER, "until": "2001-01-01T00:00:00Z"}, {}]
)
async def test_what_cannot_be_blocked_is_refused(client: Client, body: object) -> None:
    answer = await client.post("/contacts/do-not-contact", body)
    assert answer.status_code == 422
    assert (await client.get("/contacts/do-not-contact")).json()["data"] == []


@pytest.mark.parametrize("year", ["9999-12-31T23:59:59-01:00", "9000-01-01T00:00:00Z"])
async def test_time_that_could_not_be_read_back_is_refused(client: Client, year: str) -> None:
    """Kept, it would be after the year 9999 somewhere, and no list with it could be read."""
    for path, body in (
        ("/contacts/do-not-contact", {"number": NUMBER, "until": year}),
        ("/tokens", {"name": "far", "expires_at": year}),
    ):
        answer = await client.post(path, body)
        assert answer.status_code == 422
        assert "8999" in answer.text
        assert (await client.get(path)).status_code == 200
    assert (await client.get("/batches", created_before=year)).status_code == 200


async def test_numbers_of_another_team_are_neither_seen_nor_removed(clients: Clients) -> None:
    owner = await clients.of(await factories.make_team(clients.db))
    other = await clients.of(await factories.make_team(clients.db))
    await owner.post("/contacts/do-not-contact", {"number": NUMBER})
    assert (await other.get("/contacts/do-not-contact")).json()["data"] == []
    assert (await other.delete(f"/contacts/do-not-contact/{NUMBER}")).status_code == 404
    assert len((await owner.get("/contacts/do-not-contact")).json()["data"]) == 1


async def test_rules_are_changed_in_parts_and_each_change_is_audited(client: Client) -> None:
    await client.patch("/contacts/rules", {"days": [1, 2, 3], "countries": ["dk"]})
    shown = (await client.patch("/contacts/rules", {"attempts_per_day": 2})).json()
    assert shown["days"] == [1, 2, 3]
    assert shown["countries"] == ["DK"]
    assert shown["attempts_per_day"] == 2
    assert (await client.get("/contacts/rules")).json() == shown
    off = (await client.patch("/contacts/rules", {"countries": None})).json()
    assert off["countries"] is None
    log = (await client.get("/audit")).json()["data"]
    assert [entry["action"] for entry in log] == ["rules.change"] * 3


@pytest.mark.parametrize(
    "change", [{"days": [8]}, {"days": []}, {"fallback_zone": "Mars/Olympus"}, {"colour": 1}]
)
async def test_wrong_rules_change_nothing(client: Client, change: object) -> None:
    before = (await client.get("/contacts/rules")).json()
    assert (await client.patch("/contacts/rules", change)).status_code == 422
    assert (await client.get("/contacts/rules")).json() == before


async def test_the_audit_log_holds_no_number(client: Client) -> None:
    await client.post("/contacts/do-not-contact", {"number": NUMBER})
    assert NUMBER not in (await client.get("/audit")).text
