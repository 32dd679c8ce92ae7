"""Rows: long lists by HTTP, beside bare routes that send the same bytes from PostgreSQL."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import psycopg

from batchyard.cursors import write_cursor
from batchyard.models import Kind
from tools.bench import filling, yard
from tools.bench.figures import Line, Rates, Scale, say
from tools.bench.load import Load, Target, at_full_speed, at_rate
from tools.bench.serving import serving, serving_bare

CALL_BATCHES = 10_000
SHIPMENT_BATCHES = 50_000
ITEMS = 1_000_000
SECONDS = 4.0
"""Of each round; before the first both servers are warmed up."""
WARM_SECONDS = 1.0
PAGES = (100, 1000)
ITEMS_OF_A_PAGE = 100
GOAL = 0.8
GOAL_P99_MS = 100.0
HALF = 0.5
SAME_SIZE = 0.95
"""A door puts a page into an envelope; the rest has to be the same bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page of one list, as the door and as the bare route know it."""

    title: str
    door: str
    bare: str
    has_pace: bool = True
    """Whether it is small enough to be answered within the goal of the slowest."""


def measure(scale: Scale) -> Iterator[Line]:
    """Take turns for each page: bare, door."""
    with yard.postgres() as url:
        pages, token = _fill(url, scale), yard.make_token(url)
        with serving_bare(url) as (bare_port, _), serving(url) as (port, _):
            for page in pages:
                door = Target(port=port, path=page.door, token=token)
                bare = Target(port=bare_port, path=page.bare, token=token)
                yield _measure(page, door, bare, scale)


def _measure(page: Page, door: Target, bare: Target, scale: Scale) -> Line:
    rates, load = Rates(), Load()
    for target in (bare, door):
        at_full_speed(target, seconds=scale.seconds(WARM_SECONDS))
    for _ in range(scale.rounds):
        plain = at_full_speed(bare, seconds=scale.seconds(SECONDS))
        load = at_full_speed(door, seconds=scale.seconds(SECONDS))
        rates.add("bare", plain.rate, unit="requests/s")
        rates.add("door", load.rate, unit="requests/s")
        if not SAME_SIZE <= len(plain.body) / len(load.body) <= 1 / SAME_SIZE:
            raise RuntimeError(f"{page.title}: {len(plain.body)} bytes, {len(load.body)} bytes")
    half = rates.median("door") * HALF
    paced = at_rate(door, rate=half, seconds=scale.seconds(SECONDS)) if page.has_pace else None
    ratio = rates.ratio("door", to="bare")
    is_quick = paced is None or paced.p99_ms <= GOAL_P99_MS
    pace = "" if paced is None else f", p99 at half load {paced.p99_ms:.0f} ms"
    return Line(
        title=f"{page.title} ({len(load.body) / 1024:,.0f} KB)",
        figures=f"{rates.spread('door', 'requests/s')}{pace}; "
        f"bare {rates.spread('bare', 'requests/s')}",
        ratio=f"{ratio:.2f} of bare Starlette",
        goal=f"≥ {GOAL}" + (f"; p99 ≤ {GOAL_P99_MS:.0f} ms" if page.has_pace else ""),
        is_met=ratio >= GOAL and is_quick,
        numbers={**rates.all(), "p99_ms": None if paced is None else paced.p99_ms},
    )


def _fill(url: str, scale: Scale) -> list[Page]:
    team, agent = yard.ensure_team(url), filling.make_agent(url)
    calls, shipments = scale.of(CALL_BATCHES), scale.of(SHIPMENT_BATCHES, least=2000)
    items = scale.of(ITEMS)
    filling.fill_list(url, batches=calls, kind=Kind.CALL, agent_id=agent)
    filling.fill_list(url, batches=shipments, kind=Kind.SHIPMENT)
    (batch_id,) = filling.fill(url, items=items, kind=Kind.CALL, agent_id=agent, is_done=True)
    yard.settle(url)
    say("filled")
    pages = [
        Page(
            title=f"Bolna: 100 of {calls:,} batches",
            door=f"/batches/{agent}/all?page_number=1&page_size=100",
            bare=f"/calls?agent={agent}&team={team.id}&page_size=100",
        ),
        Page(
            title=f"Bolna: all {calls:,} batches",
            door=f"/batches/{agent}/all",
            bare=f"/calls?agent={agent}&team={team.id}",
            has_pace=False,
        ),
    ]
    for size in PAGES:
        last = -(-shipments // size)
        for name, number in (("page 1", 1), ("the last page", last)):
            query = f"page={number}&per_page={size}"
            pages.append(
                Page(
                    title=f"Smart Send: {size:,} of {shipments:,} batches, {name}",
                    door=f"/api/v2/team/{team.slug}/booking-batches?{query}",
                    bare=f"/shipments?team={team.id}&{query}",
                )
            )
    query = f"batch_id={batch_id}&limit={ITEMS_OF_A_PAGE}&cursor={_middle(url, batch_id, items)}"
    pages.append(
        Page(
            title=f"operator: {ITEMS_OF_A_PAGE} items from the middle of {items:,}",
            door=f"/api/v1/items?{query}",
            bare=f"/items?team={team.id}&{query}",
        )
    )
    return pages


def _middle(url: str, batch_id: UUID, items: int) -> str:
    """Return the cursor of the item in the middle."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT batch_id, position, item_id FROM item_data WHERE batch_id = %s"
            " AND position = %s",
            (batch_id, items // 2),
        ).fetchone()
    return write_cursor(list(row or ()))
