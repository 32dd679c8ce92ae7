"""Contract, sections 1 and 5: what holds for every request."""

import asyncio
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from batchyard.store.db import Database
from tests.api.smartsend.conftest import Client, open_client
from tests.factories import make_team, revoke_token

LIST = "/booking-batches"


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer wrong", "Basic abc", "Bearer a b", "Bearer \xe6\xf8"],
)
async def test_wrong_credentials_are_401(client: Client, header: str) -> None:
    answer = await client.get(LIST, headers={"Authorization": header.encode("latin-1")})

    assert answer.status_code == 401
    assert answer.json() == {"message": "The bearer token is missing or not valid."}
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert UUID(answer.headers["Request-ID"]).version


async def test_the_scheme_of_a_token_has_no_case(client: Client) -> None:
    answer = await client.get(LIST, headers={"Authorization": f"bEARER {client.token}"})

    assert answer.status_code == 200


async def test_a_revoked_token_is_401_at_once(client: Client, db: Database) -> None:
    assert (await client.get(LIST)).status_code == 200

    await revoke_token(db, team=client.team)

    assert (await client.get(LIST)).status_code == 401


async def test_a_body_is_not_read_before_the_token(client: Client) -> None:
    answer = await client.post(LIST, content=b"{", headers={"Authorization": "Bearer no"})

    assert answer.status_code == 401


async def test_a_team_is_named_by_its_slug_or_uuid(client: Client) -> None:
    names = (client.team.slug, str(client.team.uuid), str(client.team.uuid).upper())

    answers = [await client.http.get(f"/api/v2/team/{name}{LIST}") for name in names]

    assert [answer.status_code for answer in answers] == [200, 200, 200]


async def test_another_team_and_no_team_look_alike(client: Client, stranger: Client) -> None:
    names = (stranger.team.slug, str(stranger.team.uuid), "nobody", str(uuid4()), "%00", "a%20b")

    answers = [await client.http.get(f"/api/v2/team/{name}{LIST}") for name in names]

    assert {(answer.status_code, answer.text) for answer in answers} == {
        (404, '{"message":"There is no such resource."}')
    }


@pytest.mark.parametrize("request_id", ["x", "a b", "x" * 128, "{42}/\u00e6\u00f8\u00e5", "~!@#"])
async def test_a_request_id_is_echoed_unchanged(client: Client, request_id: str) -> None:
    answer = await client.get(LIST, headers={"Request-ID": request_id.encode()})

    assert answer.status_code == 200
    [echoed] = [value for name, value in answer.headers.raw if name.lower() == b"request-id"]
    assert echoed.decode() == request_id


@pytest.mark.parametrize("request_id", ["", "x" * 129, "tab\there", "bell\x07", "\x85"])
async def test_a_bad_request_id_is_422_and_replaced(client: Client, request_id: str) -> None:
    answer = await client.get(LIST, headers={"Request-ID": request_id.encode()})

    assert answer.status_code == 422
    assert answer.json() == {
        "message": "The request is not valid.",
        "errors": {"Request-ID": ["This must have 1 to 128 printable characters."]},
    }
    assert UUID(answer.headers["Request-ID"]).version


async def test_an_absent_request_id_is_made_anew_each_time(client: Client) -> None:
    made = {(await client.get(LIST)).headers["Request-ID"] for _ in range(2)}

    assert len(made) == 2
    assert all(UUID(one).version for one in made)


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/api/v2/unknown", 404),
        ("GET", "/api/v2/team//booking-batches", 404),
        ("GET", "/api/v2/team/north/booking-batches/", 404),
        ("GET", "/api/v2/team/north/booking-batches/nonsense", 404),
        ("PATCH", "/api/v2/team/north/booking-batches", 405),
        ("GET", "/api/v2/team/south/booking-batches", 404),
        ("GET", "/api/v2/team/north/booking-batches?page=0", 422),
        ("POST", "/api/v2/team/north/booking-batches/nonsense/dispatch", 404),
    ],
)
async def test_every_error_is_json_with_request_id_and_language(
    client: Client, method: str, path: str, status: int
) -> None:
    answer = await client.http.request(
        method, path, headers={"Request-ID": "mine", "Accept-Language": "da"}
    )

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Request-ID"] == "mine"
    assert answer.headers["Content-Language"] == "da"
    assert answer.headers["Vary"] == "Accept-Language"
    assert answer.json()["message"]


async def test_405_names_every_method_of_the_path(client: Client) -> None:
    answer = await client.http.put(client.path("/booking-batches"))

    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, POST"


@pytest.mark.parametrize(
    "header, language",
    [
        (None, "da"),
        ("en", "en"),
        ("da-DK, da;q=0.9, en;q=0.8", "da"),
        ("de, en-GB;q=0.5", "en"),
        ("de", "da"),
    ],
)
async def test_the_language_is_the_headers_or_the_teams(
    door: FastAPI, db: Database, header: str | None, language: str
) -> None:
    team = await make_team(db, locale="da-DK")
    async with open_client(door, db, team=team) as client:
        headers = {} if header is None else {"Accept-Language": header}
        answer = await client.get(f"{LIST}?page=x", headers=headers)

    assert answer.headers["Content-Language"] == language
    told = {"da": "Dette skal være et heltal.", "en": "This must be an integer."}
    assert answer.json()["errors"] == {"page": [told[language]]}


async def test_several_language_headers_count_as_one(client: Client) -> None:
    headers = httpx.Headers([("Accept-Language", "en;q=0.5"), ("Accept-Language", "da")])

    answer = await client.get(LIST, headers=headers)

    assert answer.headers["Content-Language"] == "da"


async def test_a_broken_server_tells_nothing_but_the_request_id(
    client: Client, db: Database
) -> None:
    async with db.transaction() as connection:
        await connection.execute("DROP TABLE batch_counts CASCADE")

    answer = await client.get(LIST, headers={"Request-ID": "mine"})

    assert answer.status_code == 500
    assert answer.json() == {"message": "Something went wrong on the server."}
    assert answer.headers["Request-ID"] == "mine"
    assert answer.headers["Content-Language"] == "en"


async def test_requests_at_once_keep_their_own_ids(client: Client) -> None:
    ids = [f"id-{number}" for number in range(20)]

    answers = await asyncio.gather(*(client.get(LIST, headers={"Request-ID": one}) for one in ids))

    assert [answer.headers["Request-ID"] for answer in answers] == ids
