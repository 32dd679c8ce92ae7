"""Row: how soon each page of the dashboard is painted, with a million items in the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from uuid import UUID

import psycopg
from playwright.sync_api import Page, sync_playwright

from batchyard.dashboard.visitors import COOKIE, PREFIX
from batchyard.models import Kind
from batchyard.operations import access, sessions
from batchyard.operations.teams import find_team
from batchyard.store.db import Database
from tests import browsers
from tools.bench import filling, yard
from tools.bench.figures import Line, Scale, say
from tools.bench.serving import serving

ITEMS = 1_000_000
BATCHES = 2000
"""Small ones beside the large, so that the list has pages."""
LOOKS = 5
"""At each page, behind one that warms it."""
NO_BROWSER = "not measured: there is no Chromium; install Debian's package `chromium`"
GOAL_MS = 200.0
FAILED_SHARE = 20
"""One item in so many has failed."""

PAINTED = """
async () => {
  const [paint] = performance.getEntriesByName("first-contentful-paint");
  if (paint) return paint.startTime;
  return new Promise((resolve) => new PerformanceObserver((list) => {
    for (const one of list.getEntries())
      if (one.name === "first-contentful-paint") resolve(one.startTime);
  }).observe({ type: "paint", buffered: true }));
}
"""
ANSWERED = "performance.getEntriesByType('navigation')[0].responseStart"

MAKE_TRACES = """
UPDATE batches SET state = 'running', started_at = now(), scheduled_at = NULL WHERE id = %(open)s;
UPDATE items SET status = 'failed' WHERE batch_id = %(done)s
   AND abs(hashtext(id::text)) %% %(share)s = 0;
INSERT INTO rejected_rows (batch_id, line, code, reason, cells)
SELECT %(open)s, n, 'phone_letters', 'Letters.', '["+45 2O", "Ann"]'
  FROM generate_series(1, 10000) AS n;
UPDATE batches SET refused_rows = 10000 WHERE id = %(open)s;
INSERT INTO tallies (scope, at, ok, failed, seconds)
SELECT scope, date_trunc('day', now()) + make_interval(secs => 10 * n), 90, 10, 300
  FROM generate_series(0, 8639) AS n,
       unnest(ARRAY['batch:' || %(open)s, 'batch:' || %(done)s, 'team:' || %(team)s,
                    'provider:1']) AS scope;
INSERT INTO failure_tallies (team_id, at, reason, n)
SELECT %(team)s, date_trunc('day', now()) + make_interval(mins => 15 * n), 'reason_' || m, m
  FROM generate_series(0, 95) AS n, generate_series(1, 50) AS m;
INSERT INTO audit_log (team_id, actor, action, subject, at)
SELECT %(team)s, 'token bench (1)', 'batch.change',
       CASE WHEN n < 100 THEN %(open)s ELSE gen_random_uuid() END::text, now()
  FROM generate_series(1, 100000) AS n;
INSERT INTO do_not_contact (team_id, number, source, created_at)
SELECT %(team)s, '+4520' || to_char(n, 'FM000000'), 'person', now()
  FROM generate_series(1, 100000) AS n;
"""


def measure(scale: Scale) -> Iterator[Line]:
    """Look at page after page in a real Chromium: from the click to the first paint."""
    browser = browsers.find()
    if browser is None:
        yield Line(title="first paint of each page", figures=NO_BROWSER)
        return
    with yard.postgres() as url:
        items = scale.of(ITEMS)
        pages = _fill(url, items=items, batches=scale.of(BATCHES, least=100))
        say("filled")
        secret = yard.do(url, _sign_in)
        with serving(url) as (port, _), _browsing(browser, port=port, secret=secret) as page:
            for name, path in pages.items():
                seen = [_look(page, path) for _ in range(scale.of(LOOKS) + 1)][1:]
                yield _line(f"first paint at {items:,} items: {name}", seen)


def _line(title: str, seen: list[tuple[float, float]]) -> Line:
    answers, paints = zip(*seen, strict=True)
    painted = median(paints)
    return Line(
        title=title,
        figures=f"{painted:.0f} ms ({min(paints):.0f} to {max(paints):.0f}, n {len(paints)}); "
        f"the answer began after {median(answers):.0f} ms",
        goal=f"≤ {GOAL_MS:.0f} ms",
        is_met=painted <= GOAL_MS,
        numbers={"paint_ms": list(paints), "answer_ms": list(answers)},
    )


def _look(page: Page, path: str) -> tuple[float, float]:
    """Return after how many milliseconds the answer began, and the page was painted."""
    answer = page.goto(path, wait_until="load")
    if answer is None or not answer.ok:
        raise RuntimeError(f"{path} could not be loaded")
    painted = float(page.evaluate(PAINTED))
    return float(page.evaluate(ANSWERED)), painted


@contextmanager
def _browsing(executable: str, *, port: int, secret: str) -> Iterator[Page]:
    """Lend a page of somebody who is signed in and may do everything."""
    address = f"http://127.0.0.1:{port}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=list(browsers.ARGUMENTS)
        )
        context = browser.new_context(base_url=address)
        context.add_cookies([{"name": COOKIE, "value": secret, "url": f"{address}{PREFIX}"}])
        yield context.new_page()
        browser.close()


async def _sign_in(db: Database) -> str:
    team = await find_team(db, slug_or_uuid=yard.SLUG)
    if team is None:
        raise RuntimeError("there is no team")
    token = await access.create_token(db, team=team, name="bench")
    return await sessions.sign_in_with_token(db, token=token, address=None)


def _fill(url: str, *, items: int, batches: int) -> dict[str, str]:
    """Make one batch that runs and one that has ended, with all that pages tell of them.

    Returns the path of every page that is measured.
    """
    (running,) = filling.fill(url, items=items * 6 // 10, kind=Kind.SHIPMENT)
    agent_id = filling.make_agent(url)
    (done,) = filling.fill(
        url, items=items * 4 // 10, kind=Kind.CALL, agent_id=agent_id, is_done=True
    )
    filling.fill(url, items=batches, batches=batches)
    (planned,) = filling.fill(url, items=1000)
    team = yard.ensure_team(url)
    values = {"open": running, "done": done, "team": team.id, "share": FAILED_SHARE}
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(MAKE_TRACES, values)
        row = connection.execute(
            "SELECT id FROM items WHERE batch_id = %s LIMIT 1", [done]
        ).fetchone()
    yard.settle(url)
    if row is None:
        raise RuntimeError("there is no item")
    pages = _pages(running=running, done=done, planned=planned, item_id=row[0])
    return {name: f"{PREFIX}{path}" for name, path in pages.items()}


def _pages(*, running: UUID, done: UUID, planned: UUID, item_id: object) -> dict[str, str]:
    ended, open_ = f"/batches/{done}", f"/batches/{running}"
    return {
        "overview": "/overview",
        "new batch": "/new",
        "batches": "/batches",
        "batches, searched": "/batches?q=nothing",
        "batches, searched, of a state": "/batches?q=nothing&state=ended",
        "batch, running": open_,
        "batch, ended": ended,
        "items, failed": f"{ended}?status=failed",
        "items, by number": f"{ended}?q=%2B4520123",
        "items, by number, failed": f"{ended}?q=%2B4520123&status=failed",
        "items, by no number, failed": f"{ended}?q=%2B4599&status=failed",
        "refused rows": f"{open_}/refused",
        "results": f"{ended}/results",
        "events": f"{ended}/events",
        "settings of a batch": f"{open_}/settings",
        "question": f"{open_}/do/stop",
        "rehearsal": f"/batches/{planned}/rehearsal",
        "item": f"/items/{item_id}",
        "providers": "/settings/providers",
        "limits": "/settings/limits",
        "webhooks": "/settings/webhooks",
        "do not contact": "/settings/do-not-contact",
        "tokens": "/settings/tokens",
        "people": "/settings/people",
        "audit log": "/settings/audit",
    }
