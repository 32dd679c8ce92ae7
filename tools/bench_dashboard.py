"""How soon each page of the dashboard is painted, with a million items in the database.

    python -m tools.bench_dashboard [--items 1000000] [--times 5]

A real server, a real Chromium: from the click to the first paint with content, the median. The
budget is 200 ms; a page over it makes the run fail.
"""

import argparse
import asyncio
import statistics
from uuid import UUID

import psycopg
from playwright.async_api import Page, async_playwright
from rich.console import Console
from rich.table import Table

from batchyard.cli.web import listening
from batchyard.config import Config
from batchyard.dashboard.visitors import COOKIE, PREFIX
from batchyard.models import Kind, Team
from batchyard.operations import access, sessions
from batchyard.store.db import Database
from tests import browsers
from tools.bench import filling, yard

BUDGET_MS = 200.0
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
WAITED = "performance.getEntriesByType('navigation')[0].responseStart"

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


def main() -> None:
    """Measure, and say which page is too slow."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    with yard.postgres() as url:
        batches = fill(url, items=asked.items)
        team = yard.ensure_team(url)
        slow = asyncio.run(_measure(url, batches, team=team, times=asked.times))
    raise SystemExit(f"Over {BUDGET_MS:.0f} ms: {', '.join(slow)}" if slow else 0)


def fill(url: str, *, items: int) -> dict[str, UUID]:
    """Make one batch that runs and one that has ended, with all that pages tell of them."""
    [open_id] = filling.fill(url, items=items * 6 // 10, kind=Kind.SHIPMENT)
    agent_id = filling.make_agent(url)
    [done_id] = filling.fill(
        url, items=items * 4 // 10, kind=Kind.CALL, agent_id=agent_id, is_done=True
    )
    filling.fill(url, items=2000, batches=2000)
    [planned_id] = filling.fill(url, items=1000)
    team = yard.ensure_team(url)
    values = {"open": open_id, "done": done_id, "team": team.id, "share": FAILED_SHARE}
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(MAKE_TRACES, values)
        connection.execute("VACUUM ANALYZE")
    return {"open": open_id, "done": done_id, "planned": planned_id}


def pages(batches: dict[str, UUID], item_id: UUID) -> dict[str, str]:
    """Return every page that is measured."""
    running, done, planned = (f"/batches/{batches[name]}" for name in ("open", "done", "planned"))
    return {
        "overview": "/overview",
        "new batch": "/new",
        "batches": "/batches",
        "batches, searched": "/batches?q=nothing",
        "batch, running": running,
        "batch, ended": done,
        "items, failed": f"{done}?status=failed",
        "items, by number": f"{done}?q=%2B4520123",
        "refused rows": f"{running}/refused",
        "results": f"{done}/results",
        "events": f"{done}/events",
        "settings of a batch": f"{running}/settings",
        "question": f"{running}/do/stop",
        "rehearsal": f"{planned}/rehearsal",
        "item": f"/items/{item_id}",
        "providers": "/settings/providers",
        "limits": "/settings/limits",
        "webhooks": "/settings/webhooks",
        "do not contact": "/settings/do-not-contact",
        "tokens": "/settings/tokens",
        "people": "/settings/people",
        "audit log": "/settings/audit",
    }


async def _measure(url: str, batches: dict[str, UUID], *, team: Team, times: int) -> list[str]:
    db = Database(url)
    await db.open()
    stop = asyncio.Event()
    with listening(Config(host="127.0.0.1", port=0)) as (config, serve):
        serving = asyncio.create_task(serve(config, db, stop))
        token = await access.create_token(db, team=team, name="bench")
        secret = await sessions.sign_in_with_token(db, token=token, address=None)
        async with db.pool.connection() as conn:
            query = "SELECT id FROM items WHERE batch_id = %s LIMIT 1"
            row = await (await conn.execute(query, [batches["done"]])).fetchone()
        if row is None or not isinstance(row[0], UUID):
            raise SystemExit("There is no item.")
        slow = await _browse(
            f"http://{config.host}:{config.port}", secret, pages(batches, row[0]), times=times
        )
        stop.set()
        await serving
    await db.close()
    return slow


async def _browse(address: str, secret: str, paths: dict[str, str], *, times: int) -> list[str]:
    table = Table("page", "answer ms", "first paint ms", "slowest ms")
    slow: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=browsers.find(), args=list(browsers.ARGUMENTS)
        )
        context = await browser.new_context(base_url=address)
        await context.add_cookies([{"name": COOKIE, "value": secret, "url": f"{address}{PREFIX}"}])
        page = await context.new_page()
        await page.goto(f"{PREFIX}/overview")
        for name, path in paths.items():
            seen = [await _look(page, f"{PREFIX}{path}") for _ in range(times + 1)][1:]
            answer, painted = (statistics.median(column) for column in zip(*seen, strict=True))
            slowest = max(paint for _, paint in seen)
            table.add_row(name, f"{answer:.0f}", f"{painted:.0f}", f"{slowest:.0f}")
            if painted > BUDGET_MS:
                slow.append(name)
        await browser.close()
    Console(width=100).print(table)
    return slow


async def _look(page: Page, path: str) -> tuple[float, float]:
    answer = await page.goto(path, wait_until="load")
    if answer is None or not answer.ok:
        raise SystemExit(f"{path} could not be loaded.")
    painted = float(await page.evaluate(PAINTED))
    return float(await page.evaluate(WAITED)), painted


if __name__ == "__main__":
    main()
