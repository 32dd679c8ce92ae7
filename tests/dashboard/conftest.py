"""A real server on a real port, and a real browser that looks at it.

Everything of a module shares one server, every test one browser: all run in the session's loop.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    async_playwright,
    expect,
)

from batchyard.cli.web import listening
from batchyard.config import Config
from batchyard.dashboard.visitors import COOKIE, PREFIX
from batchyard.engine.worker import run_worker
from batchyard.models import Team
from batchyard.operations import access, sessions
from batchyard.store.db import Database
from tests import browsers, factories
from tests.conftest import lend_database

PATIENCE_MS = 30_000
"""It only ends waits for what never comes."""
POLL_SECONDS = 0.02
NOWHERE = "/nowhere"
"""An address that is not there on purpose."""
UNPROCESSABLE = "status of 422"

expect.set_options(timeout=PATIENCE_MS)


class Yard:
    """A server with a team."""

    def __init__(self, db: Database, config: Config, team: Team) -> None:
        self.db = db
        self.config = config
        self.team = team
        self.url = f"http://{config.host}:{config.port}"

    async def secret(self, *scopes: str, team: Team | None = None) -> str:
        """Begin a session of a token with these scopes."""
        token = await access.create_token(
            self.db, team=team or self.team, name="test", scopes=scopes or ("admin",)
        )
        return await sessions.sign_in_with_token(self.db, token=token, address=None)

    @asynccontextmanager
    async def client(
        self, *scopes: str, team: Team | None = None, **headers: str
    ) -> AsyncIterator[httpx.AsyncClient]:
        """Lend a client that is signed in and whose changes come from a page of its own."""
        secret = await self.secret(*scopes, team=team)
        async with httpx.AsyncClient(
            base_url=self.url,
            cookies={COOKIE: secret},
            headers={"X-CSRF-Token": sessions.csrf_token(secret), **headers},
            trust_env=False,
            timeout=PATIENCE_MS / 1000,
        ) as client:
            yield client

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run a worker whose sandbox does everything at once."""
        stop = asyncio.Event()
        config = self.config.model_copy(update={"sandbox_speed": 0, "stop_seconds": 2})
        worker = asyncio.create_task(run_worker(config, self.db, stop=stop))
        try:
            yield
        finally:
            stop.set()
            await worker

    def stranger(self, *, follow_redirects: bool = False) -> httpx.AsyncClient:
        """Return a client of somebody who is not signed in."""
        return httpx.AsyncClient(
            base_url=self.url,
            trust_env=False,
            timeout=PATIENCE_MS / 1000,
            follow_redirects=follow_redirects,
        )

    async def until(self, query: str, args: Sequence[object] = ()) -> None:
        """Wait until a query's first value is true."""
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while not await self.value(query, args):  # noqa: ASYNC110  # rows send no signal
                await asyncio.sleep(POLL_SECONDS)

    async def value(self, query: str, args: Sequence[object] = ()) -> object:
        """Return the first value of a query."""
        async with self.db.pool.connection() as conn:
            row = await (await conn.execute(query.encode(), args)).fetchone()
        return row[0] if row else None

    async def execute(self, statement: str, args: Sequence[object] = ()) -> None:
        """Change something behind the server's back."""
        async with self.db.transaction() as conn:
            await conn.execute(statement.encode(), args)


@pytest.fixture(scope="module")
def yard_url(postgres_folder: str) -> Iterator[str]:
    """Lend a database to a module."""
    yield from lend_database(postgres_folder)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def yard(yard_url: str) -> AsyncIterator[Yard]:
    """Lend a server to a module."""
    db = Database(yard_url)
    await db.open()
    team = await factories.make_team(db, slug="yard")
    stop = asyncio.Event()
    with listening(Config(host="127.0.0.1", port=0)) as (config, serve):
        serving = asyncio.create_task(serve(config, db, stop))
        yield Yard(db, config, team)
        stop.set()
        await serving
    await db.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Lend the browser of this run."""
    path = browsers.find()
    if path is None:
        pytest.skip(browsers.MISSING)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, args=list(browsers.ARGUMENTS)
        )
        yield browser
        await browser.close()


@asynccontextmanager
async def looking(
    browser: Browser, yard: Yard, *, expected: Sequence[str] = ()
) -> AsyncIterator[BrowserContext]:
    """Lend a browser without cookies; whatever goes wrong in its console fails the test.

    What contains a word of `expected` is what the test asks for.
    """
    context = await browser.new_context(base_url=yard.url, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []

    def listen(said: ConsoleMessage) -> None:
        # A browser complains of every fault, also of one that a test asks for.
        is_asked_for = said.location["url"].endswith(NOWHERE) or any(
            word in said.text for word in (UNPROCESSABLE, *expected)
        )
        if said.type in {"error", "warning"} and not is_asked_for:
            wrong.append(said.text)

    context.on("console", listen)
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    yield context
    await context.close()
    assert wrong == []


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, yard: Yard) -> AsyncIterator[BrowserContext]:
    """Lend a browser that nothing may go wrong in."""
    async with looking(browser, yard) as context:
        yield context


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext, yard: Yard) -> Page:
    """Lend a page of somebody who is signed in and may do everything."""
    return await signed_in(context, yard)


async def signed_in(
    context: BrowserContext, yard: Yard, *scopes: str, team: Team | None = None
) -> Page:
    """Open a page of somebody with these scopes, of the yard's team unless another is named."""
    secret = await yard.secret(*scopes, team=team)
    await context.add_cookies(
        [{"name": COOKIE, "value": secret, "url": f"{yard.url}{PREFIX}", "httpOnly": True}]
    )
    return await context.new_page()


async def follow(page: Page, way: Locator) -> None:
    """Click what leads to another page, and wait until its scripts run."""
    async with page.expect_navigation():
        await way.click()


def batch_path(batch_id: UUID, rest: str = "") -> str:
    """Return the address of a batch."""
    return f"{PREFIX}/batches/{batch_id}{rest}"
