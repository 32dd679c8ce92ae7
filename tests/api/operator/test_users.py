"""People: let in, verified, removed."""

import pytest

from batchyard.operations import users
from batchyard.store.db import Database
from tests.api.operator.conftest import Client
from tests.cli.commands import call, call_with_input

PASSWORD = "correct horse battery"
PERSON = {"email": "ada@example.com", "name": "Ada", "password": PASSWORD}


async def test_user_is_let_in_verified_and_removed(client: Client) -> None:
    made = await client.post("/users", PERSON)
    assert made.status_code == 201, made.text
    listed = (await client.get("/users")).json()["data"]
    assert [(row["email"], row["has_password"]) for row in listed] == [("ada@example.com", True)]
    assert "argon2" not in str(listed)
    db = client.db
    assert await users.verify(db, email="ADA@example.com", password=PASSWORD) is not None
    assert await users.verify(db, email="ada@example.com", password="wrong") is None
    assert await users.verify(db, email="eve@example.com", password=PASSWORD) is None
    path = f"/users/{made.json()['id']}"
    new = {"password": "another long password"}
    assert (await client.http.put(f"/api/v1{path}/password", json=new)).status_code == 204
    assert await users.verify(db, email="ada@example.com", password=PASSWORD) is None
    assert await users.verify(db, email="ada@example.com", password=new["password"]) is not None
    assert (await client.delete(path)).status_code == 204
    assert (await client.delete(path)).status_code == 404
    assert await users.verify(db, email="ada@example.com", password=new["password"]) is None
    assert PASSWORD not in (await client.get("/audit")).text


async def test_email_is_used_once(client: Client) -> None:
    await client.post("/users", PERSON)
    again = await client.post("/users", PERSON | {"email": "Ada@Example.com"})
    assert again.status_code == 409


@pytest.mark.parametrize("wrong", [{"password": "short"}, {"email": "nobody"}, {"scopes": ["fly"]}])
async def test_wrong_user_is_refused(client: Client, wrong: dict[str, object]) -> None:
    assert (await client.post("/users", PERSON | wrong)).status_code == 422


async def test_user_without_password_signs_in_elsewhere(client: Client) -> None:
    await client.post("/users", {"email": "ada@example.com", "name": "Ada"})
    assert await users.verify(client.db, email="ada@example.com", password=PASSWORD) is None
    found = await users.find_user(client.db, email="ada@example.com")
    assert found is not None
    assert found.team_id == client.team.id


def test_commands_add_list_and_remove(database_url: str) -> None:
    settings = {"BATCHYARD_DATABASE_URL": database_url}
    team = ("--team", "default")
    added = call_with_input(f"{PASSWORD}\n", "user", "add", "ada@example.com", *team, **settings)
    assert added.returncode == 0, added.stderr
    assert "ada@example.com" in call("user", "list", *team, **settings).stdout
    assert call("user", "remove", "ada@example.com", *team, **settings).returncode == 0
    gone = call("user", "remove", "ada@example.com", *team, **settings)
    assert (gone.returncode, "has no user" in gone.stderr) == (2, True)


async def test_hash_is_argon2id(client: Client, db: Database) -> None:
    await client.post("/users", PERSON)
    found = await users.find_user(db, email="ada@example.com")
    assert found is not None
    assert str(found.password_hash).startswith("$argon2id$")
