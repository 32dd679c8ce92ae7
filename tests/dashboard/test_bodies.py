"""What comes in before anybody is known: bodies with an end, addresses, passwords."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from batchyard.cli import web
from batchyard.config import Config
from batchyard.dashboard import guard
from batchyard.dashboard.visitors import PREFIX
from batchyard.models import BatchState
from batchyard.operations import sessions, users
from batchyard.store.db import Database
from tests import factories
from tests.dashboard.conftest import Yard

pytestmark = pytest.mark.asyncio(loop_scope="session")

FORM = "application/x-www-form-urlencoded"
PIECE = b"a" * 100_000
FIELDS = {
    FORM: b"f=%s&" % PIECE,
    "multipart/form-data; boundary=x": (
        b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n%s\r\n' % PIECE
    ),
}
"""A field of a form, none of them large."""


async def pieces(field: bytes) -> AsyncIterator[bytes]:
    """Yield a body that is too large, and says no length."""
    for _ in range(2 * guard.MAX_FORM_BYTES // len(PIECE)):
        yield field


@pytest.mark.parametrize("content_type", FIELDS)
async def test_body_is_counted_before_anybody_is_known(yard: Yard, content_type: str) -> None:
    async with yard.stranger() as client:
        answer = await client.post(
            f"{PREFIX}/sign-in",
            content=pieces(FIELDS[content_type]),
            headers={"Content-Type": content_type},
        )
    assert answer.status_code == 413
    assert guard.TOO_LARGE in answer.text


async def test_every_form_has_a_limit_and_uploads_have_their_own(yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, state=BatchState.RUNNING)
    large = FIELDS[FORM] * (guard.MAX_FORM_BYTES // len(PIECE) + 1)
    async with yard.client() as client:
        answer = await client.post(
            f"{PREFIX}/settings/people", content=large, headers={"Content-Type": FORM}
        )
        assert answer.status_code == 413
        rows = b"Mobil,name\n" + b"+4520123456,a\n" * 200_000
        assert len(rows) > guard.MAX_FORM_BYTES
        answer = await client.post(
            f"{PREFIX}/batches/{batch_id}/refused/file", files={"file": ("a.csv", rows)}
        )
        assert answer.status_code != 413, answer.text


async def test_password_may_begin_and_end_with_a_blank(yard: Yard) -> None:
    email, password = "blank@yard.example", "  correct horse battery "
    form = {"name": "Bo", "email": email, "password": password, "scopes": "admin"}
    async with yard.client() as client:
        assert (await client.post(f"{PREFIX}/settings/people", data=form)).status_code == 303
    async with yard.stranger() as client:
        for said, status in ((password.strip(), 403), (password, 303)):
            answer = await client.post(f"{PREFIX}/sign-in", data={"email": email, "password": said})
            assert answer.status_code == status, said


async def test_people_behind_a_trusted_proxy_have_limits_of_their_own(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST_FAILURES_OF_ADDRESS", 1)
    team = await factories.make_team(db)
    email, password = "ann@proxied.example", "correct horse battery"
    await users.create_user(db, team=team, email=email, name="Ann", password=password)
    guess = {"email": "guess@proxied.example", "password": "guess"}

    async def try_all(trusted: str) -> list[int]:
        stop = asyncio.Event()
        settings = Config(host="127.0.0.1", port=0, trusted_proxies=trusted, intake_processes=0)
        with web.listening(settings) as (config, serve):
            serving = asyncio.create_task(serve(config, db, stop))
            url = f"http://127.0.0.1:{config.port}"
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
                answers = [
                    await client.post(
                        f"{PREFIX}/sign-in", data=form, headers={"X-Forwarded-For": address}
                    )
                    for form, address in (
                        (guess, "192.0.2.1"),
                        (guess, "192.0.2.1"),
                        ({"email": email, "password": password}, "192.0.2.2"),
                    )
                ]
            stop.set()
            await serving
        return [answer.status_code for answer in answers]

    assert await try_all("127.0.0.0/8") == [403, 429, 303]
    # Of anybody else it is not believed: all of them are one address, which is limited by now.
    assert await try_all("203.0.113.7") == [403, 429, 429]
