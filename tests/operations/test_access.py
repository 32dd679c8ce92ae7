"""Tokens: only their hash is kept, and each speaks for one team."""

import pytest

from batchyard.errors import Conflict, InvalidRequest
from batchyard.operations.access import authenticate, create_token, ensure_token
from batchyard.store.db import Database
from tests.factories import make_team, revoke_token


async def test_a_token_speaks_for_its_team(db: Database) -> None:
    team = await make_team(db)

    token = await create_token(db, team=team, name="shop", bolna_version="2026-08")
    principal = await authenticate(db, token=token)

    assert token.startswith("by_")
    assert len(token) == len("by_") + 43
    assert principal is not None
    assert (principal.team, principal.bolna_version) == (team, "2026-08")


async def test_the_text_of_a_token_is_not_stored(db: Database) -> None:
    token = await create_token(db, team=await make_team(db), name="shop")

    async with db.pool.connection() as connection:
        rows = await (await connection.execute("SELECT tokens::text FROM tokens")).fetchall()

    assert len(rows) == 1
    assert token not in str(rows)
    assert token.encode().hex() not in str(rows)


@pytest.mark.parametrize("token", ["", "by_", "\0", "\udcff", "x" * 100_000])
async def test_an_unknown_token_is_nobody(db: Database, token: str) -> None:
    assert await authenticate(db, token=token) is None


async def test_a_revoked_token_is_nobody(db: Database) -> None:
    team = await make_team(db)
    token = await create_token(db, team=team, name="shop")

    await revoke_token(db, team=team)

    assert await authenticate(db, token=token) is None


async def test_a_given_token_is_made_once(db: Database) -> None:
    team = await make_team(db)

    for _ in range(2):
        await ensure_token(db, team=team, token="from-outside", name="bootstrap")

    principal = await authenticate(db, token="from-outside")
    assert principal is not None
    assert principal.team == team


async def test_a_given_token_of_another_team_or_revoked_is_refused(db: Database) -> None:
    team = await make_team(db)
    await ensure_token(db, team=team, token="from-outside", name="bootstrap")

    with pytest.raises(Conflict, match="another team"):
        await ensure_token(db, team=await make_team(db), token="from-outside", name="bootstrap")

    await revoke_token(db, team=team)
    with pytest.raises(Conflict, match="revoked"):
        await ensure_token(db, team=team, token="from-outside", name="bootstrap")


@pytest.mark.parametrize("token", ["", "with space", "tæst", "x" * 513])
async def test_a_token_no_header_can_carry_is_refused(db: Database, token: str) -> None:
    with pytest.raises(InvalidRequest):
        await ensure_token(db, team=await make_team(db), token=token, name="bootstrap")


async def test_an_unknown_bolna_version_is_refused(db: Database) -> None:
    with pytest.raises(InvalidRequest, match="2024-01, 2026-08"):
        await create_token(db, team=await make_team(db), name="x", bolna_version="2025-01")
