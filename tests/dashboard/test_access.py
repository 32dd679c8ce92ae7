"""Who may see and do what: sign-in, sessions, CSRF, scopes, teams, headers; over every route."""

import asyncio
import re
from collections.abc import Iterator

import httpx
import pytest
from fastapi.routing import APIRoute
from structlog.testing import capture_logs

from batchyard.cli import web
from batchyard.config import Config
from batchyard.dashboard import guard, sign_in
from batchyard.dashboard.routes import PAGES, build_door
from batchyard.dashboard.visitors import COOKIE, PREFIX
from batchyard.models import BatchState, Kind
from batchyard.operations import access, sessions, users
from batchyard.operations.access import ADMIN_SCOPE, SCOPES
from batchyard.store.db import Database
from tests import factories
from tests.dashboard.conftest import Yard

pytestmark = pytest.mark.asyncio(loop_scope="session")

EMAIL = "ann@example.com"
PASSWORD = "correct horse battery"
NOBODY = "0194d2a5-0000-7000-8000-000000000000"
FILLS = {
    "batch_id": NOBODY,
    "item_id": NOBODY,
    "deed": "pause",
    "section": "general",
    "name": "results.csv",
    "token": "nothing",
    "upload_id": NOBODY,
    "endpoint_id": NOBODY,
    "delivery_id": NOBODY,
    "user_id": NOBODY,
    "token_id": "0",
}
FREE = {sign_in.show_sign_in, sign_in.sign_in}


def routes() -> Iterator[APIRoute]:
    for page in PAGES:
        yield from (one for one in page.router.routes if isinstance(one, APIRoute))


def guarded() -> Iterator[APIRoute]:
    return (route for route in routes() if route.endpoint not in FREE)


def scope_of(route: APIRoute) -> str | None:
    for dependency in route.dependant.dependencies:
        if dependency.call is not None and hasattr(dependency.call, "scope"):
            scope: str | None = dependency.call.scope
            return scope
    raise AssertionError(f"{route.path} asks for nobody")


def ask(client: httpx.AsyncClient, route: APIRoute, fills: dict[str, str]) -> httpx.Request:
    return client.build_request(
        next(iter(route.methods or ())), PREFIX + route.path.format(**fills)
    )


async def test_nobody_sees_a_page_without_signing_in(yard: Yard) -> None:
    async with yard.stranger() as client:
        for route in guarded():
            answer = await client.send(ask(client, route, FILLS))
            assert answer.status_code == 303, route.path
            assert answer.headers["location"].startswith(f"{PREFIX}/sign-in"), route.path


async def test_page_that_may_not_be_followed_is_told_to_load_again(yard: Yard) -> None:
    other = await factories.make_team(yard.db)
    batch_id = await factories.make_batch(yard.db, team=yard.team)
    [item_id] = await factories.make_items(yard.db, team=yard.team, batch_id=batch_id)
    item = f"/items/{item_id}/live"
    for client, path in (
        (yard.stranger(), "/batches/live"),
        (yard.client("webhooks"), "/batches/live"),
        (yard.client(), f"/items/{NOBODY}/live"),
        (yard.client(team=other), item),
    ):
        async with client as follower:
            answer = await follower.get(f"{PREFIX}{path}", headers={"Accept": "text/event-stream"})
        # Of a fault a browser would tell the page nothing, and ask again and again.
        assert answer.status_code == 200, path
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.text == "event: gone\ndata: \n\n"


async def test_every_page_wants_its_scope_and_no_other(yard: Yard) -> None:
    assert len(list(guarded())) > 20
    for scope in SCOPES:
        async with yard.client(scope) as client:
            for route in guarded():
                if route.path.endswith(("live", "/sign-out")):
                    continue
                answer = await client.send(ask(client, route, FILLS))
                allowed = scope_of(route) in {scope, None} or scope == ADMIN_SCOPE
                assert (answer.status_code != 403) == allowed, (scope, route.path)


async def test_live_pages_want_their_scope(yard: Yard) -> None:
    async with yard.client("webhooks") as client:
        for route in guarded():
            if route.path.endswith("live"):
                answer = await client.send(ask(client, route, FILLS))
                assert answer.status_code == 403, route.path


async def test_every_change_wants_the_token_of_its_session(yard: Yard) -> None:
    changing = [route for route in guarded() if "POST" in (route.methods or ())]
    assert len(changing) > 5
    other = sessions.csrf_token(await yard.secret())
    async with yard.client() as client:
        del client.headers["X-CSRF-Token"]
        for given in (None, other.encode(), "ÿ".encode("latin-1")):
            for route in changing:
                request = ask(client, route, FILLS)
                if given is not None:
                    request.headers = httpx.Headers(
                        [*request.headers.raw, (b"X-CSRF-Token", given)]
                    )
                answer = await client.send(request)
                assert answer.status_code == 403, (route.path, given)
                assert "out of date" in answer.text


async def test_token_of_a_form_is_enough(yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, state=BatchState.RUNNING)
    async with yard.client() as client:
        token = client.headers.pop("X-CSRF-Token")
        path = f"{PREFIX}/batches/{batch_id}/do/pause"
        assert (await client.post(path, data={"csrf": "no"})).status_code == 403
        assert (await client.post(path, data={"csrf": token})).status_code == 303


async def test_things_of_another_team_are_not_found(yard: Yard) -> None:
    batch_id = await factories.make_batch(
        yard.db, team=yard.team, kind=Kind.CALL, state=BatchState.RUNNING
    )
    [item_id] = await factories.make_items(
        yard.db, team=yard.team, batch_id=batch_id, number="+4520123456"
    )
    fills = {**FILLS, "batch_id": str(batch_id), "item_id": str(item_id)}
    other = await factories.make_team(yard.db)
    asked = [
        route for route in guarded() if route.param_convertors.keys() & {"batch_id", "item_id"}
    ]
    assert len(asked) > 15
    async with yard.client(team=other) as client:
        for route in asked:
            if route.path.endswith(("/items/live", "{batch_id}/live")):
                continue
            answer = await client.send(ask(client, route, fills))
            assert answer.status_code == 404, (route.path, answer.status_code)
        assert str(batch_id) not in (await client.get(f"{PREFIX}/batches")).text


async def test_live_page_of_another_team_tells_nothing(yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, reference="ours")
    other = await factories.make_team(yard.db)
    async with yard.client(team=other) as client:
        for rest in ("live", "items/live"):
            answer = await client.get(f"{PREFIX}/batches/{batch_id}/{rest}")
            assert answer.text == "retry: 1000\n\nevent: gone\ndata: \n\n"


async def test_page_offers_only_what_the_scopes_allow(yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, state=BatchState.RUNNING)
    [item_id] = await factories.make_items(yard.db, team=yard.team, batch_id=batch_id)
    paths = [f"/batches/{batch_id}", f"/batches/{batch_id}/settings", f"/items/{item_id}"]
    for scopes, offers in ((("batches:read",), False), (("batches:read", "batches:write"), True)):
        async with yard.client(*scopes) as client:
            for path in paths:
                text = (await client.get(f"{PREFIX}{path}")).text
                acts = re.findall(r'id="do-|Save limits', text)
                assert bool(acts) == offers, (scopes, path)


async def test_person_signs_in_by_password(yard: Yard) -> None:
    await users.create_user(yard.db, team=yard.team, email=EMAIL, name="Ann", password=PASSWORD)
    async with yard.stranger() as client:
        form = {"email": EMAIL, "password": "wrong", "next": f"{PREFIX}/batches?kind=call"}
        refused = await client.post(f"{PREFIX}/sign-in", data=form)
        assert refused.status_code == 403
        assert "e-mail or the password is wrong" in refused.text
        assert COOKIE not in client.cookies

        answer = await client.post(f"{PREFIX}/sign-in", data=form | {"password": PASSWORD})
        assert answer.headers["location"] == f"{PREFIX}/batches?kind=call"
        cookie = answer.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=lax", f"Path={PREFIX}"} <= set(cookie.split("; "))
        assert "Secure" not in cookie

        page = await client.get(f"{PREFIX}/batches")
        assert "Ann" in page.text
        [csrf] = set(re.findall(r'name="csrf" value="(\w+)"', page.text))
        await client.post(f"{PREFIX}/sign-out", data={"csrf": csrf})
        assert (await client.get(f"{PREFIX}/batches")).status_code == 303


async def test_guessing_is_told_to_wait(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_FAILURES_OF_ACCOUNT", 1)
    async with yard.stranger() as client:
        form = {"email": "guess@example.com", "password": "guess"}
        assert (await client.post(f"{PREFIX}/sign-in", data=form)).status_code == 403
        answer = await client.post(f"{PREFIX}/sign-in", data=form)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    "guess",
    [{"token": "by_guess-{n}"}, {"email": "guess-{n}@example.com", "password": "guess"}],
    ids=["token", "password"],
)
async def test_guessing_from_one_address_is_told_to_wait(
    db: Database, monkeypatch: pytest.MonkeyPatch, guess: dict[str, str]
) -> None:
    monkeypatch.setattr(sessions, "MOST_FAILURES_OF_ADDRESS", 2)
    token = await factories.make_token(db, team=await factories.make_team(db))
    door = build_door(Config(), db)
    path = f"{PREFIX}/sign-in"

    def from_address(address: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(door, client=(address, 50_000))
        return httpx.AsyncClient(transport=transport, base_url="http://test")

    async with from_address("192.0.2.7") as client:
        for n in range(2):
            form = {name: text.format(n=n) for name, text in guess.items()}
            assert (await client.post(path, data=form)).status_code == 403
        for form in (guess, {"token": token}):
            limited = await client.post(path, data=form)
            assert limited.status_code == 429
            assert int(limited.headers["retry-after"]) > 0
            assert "Too many attempts" in limited.text
        assert COOKIE not in client.cookies
    async with from_address("192.0.2.8") as client:
        assert (await client.post(path, data={"token": token})).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
    ],
)
async def test_form_of_another_site_signs_nobody_in(yard: Yard, headers: dict[str, str]) -> None:
    token = await factories.make_token(yard.db, team=yard.team)
    async with yard.stranger() as client:
        path = f"{PREFIX}/sign-in"
        refused = await client.post(path, data={"token": token}, headers=headers)
        assert refused.status_code == 403
        assert not client.cookies
        own = {"Origin": yard.url, "Sec-Fetch-Site": "same-origin"}
        assert (await client.post(path, data={"token": token}, headers=own)).status_code == 303


@pytest.mark.parametrize(
    "onward",
    [
        "https://elsewhere.example/ui/",
        "//elsewhere.example/ui/",
        "/api/v1/batches",
        "/ui/\\x",
        "/ui",
    ],
)
async def test_sign_in_leads_to_our_own_pages_only(yard: Yard, onward: str) -> None:
    token = await factories.make_token(yard.db, team=yard.team)
    async with yard.stranger() as client:
        answer = await client.post(f"{PREFIX}/sign-in", data={"token": token, "next": onward})
    assert answer.headers["location"] == f"{PREFIX}/"


async def test_cookie_is_secure_where_people_come_encrypted(db: Database) -> None:
    token = await factories.make_token(db, team=await factories.make_team(db))
    door = build_door(Config(public_url="https://yard.example"), db)
    transport = httpx.ASGITransport(app=door)
    async with httpx.AsyncClient(transport=transport, base_url="https://yard.example") as client:
        answer = await client.post(f"{PREFIX}/sign-in", data={"token": token})
    assert "Secure" in answer.headers["set-cookie"]


async def test_trusted_proxy_signs_in_whom_it_names(db: Database) -> None:
    team = await factories.make_team(db)
    for name in ("ann", "bob"):
        await users.create_user(
            db, team=team, email=f"{name}@example.com", name=name.title(), password=None
        )
    door = build_door(Config(trusted_proxy_header="X-User"), db)
    transport = httpx.ASGITransport(app=door)
    path = f"{PREFIX}/batches"
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        ann = await client.get(path, headers={"X-User": "Ann@example.com"})
        assert "Ann" in ann.text
        secret = client.cookies[COOKIE]
        assert (await client.get(path, headers={"X-User": "ann@example.com"})).status_code == 200
        assert client.cookies[COOKIE] == secret
        # Without the header, or with another one, the session of the first is worth nothing.
        assert (await client.get(path)).status_code == 303
        assert "Bob" in (await client.get(path, headers={"X-User": "bob@example.com"})).text
        stranger = await client.get(f"{PREFIX}/sign-in", headers={"X-User": "eve@example.com"})
        assert "eve@example.com" in stranger.text
    for untrusting in (
        httpx.ASGITransport(app=build_door(Config(), db)),
        # Whoever comes past the proxy may write what they like.
        httpx.ASGITransport(app=door, client=("203.0.113.9", 1)),
    ):
        async with httpx.AsyncClient(transport=untrusting, base_url="http://test") as client:
            answer = await client.get(path, headers={"X-User": "ann@example.com"})
            assert answer.status_code == 303
            page = await client.get(f"{PREFIX}/sign-in", headers={"X-User": "eve@example.com"})
            assert "eve@example.com" not in page.text


@pytest.mark.parametrize("trusted,status", [("127.0.0.0/8", 200), ("203.0.113.7", 303)])
async def test_proxy_is_known_by_its_connection_not_by_what_it_says(
    db: Database, trusted: str, status: int
) -> None:
    team = await factories.make_team(db)
    await users.create_user(db, team=team, email="ann@example.com", name="Ann", password=None)
    settings = Config(
        host="127.0.0.1",
        port=0,
        intake_processes=0,
        trusted_proxy_header="X-User",
        trusted_proxies=trusted,
    )
    said = {"X-User": "ann@example.com", "X-Forwarded-For": "203.0.113.7"}
    stop = asyncio.Event()
    with web.listening(settings) as (config, serve):
        serving = asyncio.create_task(serve(config, db, stop))
        url = f"http://127.0.0.1:{config.port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
            answer = await client.get(f"{PREFIX}/batches", headers=said)
        stop.set()
        await serving
    assert answer.status_code == status


async def test_every_answer_carries_the_policies(yard: Yard) -> None:
    async with yard.client() as client:
        for path in ("/batches", "/nothing", "/sign-in", "/static/app.css", "/static/nothing"):
            answer = await client.get(f"{PREFIX}{path}")
            for name, value in guard.HEADERS.items():
                assert answer.headers[name] == value, path
        policy = guard.HEADERS["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'self'" in policy
        page = await client.get(f"{PREFIX}/batches")
        assert page.headers["cache-control"] == "no-store"
        for asset in re.findall(r'(?:src|href)="(/ui/static/[^"#]+)', page.text):
            answer = await client.get(asset)
            assert answer.status_code == 200, asset
            assert "immutable" in answer.headers["cache-control"], asset


async def test_pages_have_nothing_inline_and_nothing_from_elsewhere(yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, state=BatchState.RUNNING)
    [item_id] = await factories.make_items(yard.db, team=yard.team, batch_id=batch_id)
    ids = {"batch_id": str(batch_id), "item_id": str(item_id)}
    pages = [route for route in routes() if route.methods == {"GET"}]
    async with yard.client() as client:
        for route in pages:
            if route.path.endswith("live"):
                continue
            answer = await client.send(ask(client, route, FILLS | ids))
            assert answer.status_code < 500, route.path
            if not answer.headers.get("content-type", "").startswith("text/html"):
                continue
            assert "<html" in answer.text, route.path
            for wrong in (r"\sstyle=", r"<style", r"\son\w+=", r"<script(?![^>]*\ssrc=)", "hx-on"):
                assert not re.search(wrong, answer.text), (route.path, wrong)
            assert not re.search(r'(?:src|href|action)="(?!/ui/|#)', answer.text), route.path


async def test_faults_are_pages_without_a_stack(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with yard.client() as client:
        for path, status in (
            (f"/batches/{NOBODY}", 404),
            ("/batches/no-uuid", 404),
            ("/nowhere", 404),
            ("/batches?after=xyz", 422),
            ("/batches?after=WyJ4IiwieSJd", 422),
        ):
            answer = await client.get(f"{PREFIX}{path}")
            assert answer.status_code == status, path
            assert answer.headers["content-type"].startswith("text/html")
            assert "<h1>" in answer.text

        async def broken(*_: object, **__: object) -> None:
            raise ZeroDivisionError("a secret of ours")

        monkeypatch.setattr("batchyard.dashboard.queries.list_batches", broken)
        with capture_logs() as logs:
            answer = await client.get(f"{PREFIX}/batches")
    assert [line["event"] for line in logs] == ["request.failed"]
    assert answer.status_code == 500
    assert "Something went wrong" in answer.text
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


async def test_root_leads_to_the_dashboard(yard: Yard) -> None:
    async with yard.client() as client:
        for path, onward in (("/", "/"), (PREFIX, "/"), (f"{PREFIX}/", "/overview")):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, f"{PREFIX}{onward}")


@pytest.mark.parametrize(
    "scope, first",
    [
        ("batches:write", "/new"),
        ("contacts", "/settings/do-not-contact"),
        ("webhooks", "/settings/webhooks"),
        ("audit:read", "/settings/audit"),
    ],
)
async def test_person_is_led_to_the_first_page_they_may_see(
    yard: Yard, scope: str, first: str
) -> None:
    token = await access.create_token(yard.db, team=yard.team, name="few", scopes=(scope,))
    async with yard.stranger(follow_redirects=True) as client:
        for answer in (
            await client.post(f"{PREFIX}/sign-in", data={"token": token}),
            await client.get(f"{PREFIX}/"),
        ):
            assert (answer.status_code, answer.url.path) == (200, f"{PREFIX}{first}")
            place = f"{PREFIX}/{first.split('/')[1]}"
            assert f'<a href="{place}" aria-current="page">' in answer.text


async def test_languages_are_negotiated_the_teams_own_last(yard: Yard) -> None:
    danes = await factories.make_team(yard.db, locale="da-DK")
    for team, header, word in (
        (yard.team, "da, en;q=0.5", "Log ud"),
        (yard.team, "fr", "Sign out"),
        (danes, "fr", "Log ud"),
        (danes, "en", "Sign out"),
    ):
        async with yard.client(team=team, **{"Accept-Language": header}) as client:
            text = (await client.get(f"{PREFIX}/batches")).text
            assert word in text, header
            assert f'<html lang="{"da" if word == "Log ud" else "en"}">' in text
