"""Row: mixed load for twenty minutes: uploads, drains, single calls, lists, deletions, all at once.

What is kept stays the same after the first quarter, so neither memory nor tables may grow then.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from uuid import UUID, uuid4

import httpx
import orjson
import psutil  # type: ignore[import-untyped]  # it carries no types
import psycopg

from batchyard.clock import monotonic
from batchyard.models import Kind
from tools.bench import uploads, yard
from tools.bench.crew import Habits, at_work
from tools.bench.figures import Line, Rates, Scale, say
from tools.bench.memory import LIMIT, MEGABYTE
from tools.bench.serving import serving

ROWS = 5000
CYCLE_SECONDS = 3.0
KEPT_BATCHES = 10
"""Older ones are deleted, so that the load is the same at the end as after the start."""
SINGLES = 5
HABITS = Habits(slots=500, team_concurrency=500, seconds=0.05)
GROWTH = 1.05
"""Of the memory: the last quarter against the second one."""
SIZE_GROWTH = 1.5
"""Of the bytes that a table or an index has for each live row of the table, likewise: vacuum keeps
up, or it does not. Single calls are not deleted, so some tables rightly hold more at the end."""
LARGE = 1_000_000
"""Bytes below which the size of a relation tells nothing."""

SIZES = """
SELECT c.relname, pg_relation_size(c.oid), c.relkind = 'r', t.n_live_tup, t.n_dead_tup,
       t.autovacuum_count
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_index x ON x.indexrelid = c.oid
  JOIN pg_stat_user_tables t ON t.relid = coalesce(x.indrelid, c.oid)
 WHERE n.nspname = 'public' AND c.relkind IN ('r', 'i')
"""


@dataclass(kw_only=True, slots=True)
class Seen:
    """What was seen after each cycle."""

    memory: dict[str, list[float]] = field(default_factory=dict)
    sizes: dict[str, list[int]] = field(default_factory=dict)
    shares: dict[str, list[float]] = field(default_factory=dict)
    """Bytes for each live row of the table."""
    last: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """Of tables: live and dead rows, and how often they were vacuumed."""

    def growth(self, series: Sequence[float]) -> float:
        """Return how the last quarter compares with the second."""
        quarter = max(1, len(series) // 4)
        early, late = median(series[quarter : 2 * quarter] or series), median(series[-quarter:])
        return late / early if early else 1.0


def measure(scale: Scale) -> Iterator[Line]:
    """Keep everything busy for so many minutes."""
    if not scale.soak_minutes:
        return
    seen, rates = Seen(), Rates()
    with yard.postgres() as url:
        token, agent = yard.make_token(url), uuid4()
        with serving(url) as (port, server), at_work(url, count=1, habits=HABITS) as crew:
            processes = {"server": psutil.Process(server), "worker": psutil.Process(crew.pids[0])}
            rounds = _Rounds(url, port, token, agent)
            ends_at, cycles = monotonic() + scale.soak_minutes * 60, 0
            while monotonic() < ends_at:
                began = monotonic()
                rounds.go()
                crew.check()
                _look(url, processes, seen)
                cycles += 1
                time.sleep(max(0.0, CYCLE_SECONDS - (monotonic() - began)))
            say(f"{cycles} cycles")
    rates.add("items", cycles * ROWS / (scale.soak_minutes * 60))
    yield from _lines(scale, seen, rates)


class _Rounds:
    """One cycle after the other of what a busy installation does."""

    def __init__(self, url: str, port: int, token: str, agent: UUID) -> None:
        self._url, self._port, self._token, self._agent = url, port, token, agent
        self._batches: deque[str] = deque()
        self._sent = 0
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60
        )

    def go(self) -> None:
        """Upload and start a batch, call some numbers, look at lists, delete the oldest batch."""
        pieces = uploads.parts(
            uploads.short_rows,
            rows=ROWS,
            row_bytes=32,
            columns="contact_number,first_name,amount",
            fields={"agent_id": str(self._agent)},
            first=self._sent,
        )
        self._sent += ROWS
        answer = uploads.upload(self._port, self._token, pieces)
        batch = str(UUID(orjson.loads(answer.body)["batch_id"]))
        self._batches.append(batch)
        yard.dispatch(self._url, [UUID(batch)], kind=Kind.CALL)
        for number in range(SINGLES):
            body = {"agent_id": str(self._agent), "recipient_phone_number": f"+4520{number:06d}"}
            self._client.post("/call", json=body).raise_for_status()
        self._client.get(f"/batches/{self._agent}/all").raise_for_status()
        self._client.get(
            "/api/v1/items", params={"batch_id": self._batches[0], "limit": 100}
        ).raise_for_status()
        if len(self._batches) > KEPT_BATCHES:
            self._client.delete(f"/batches/{self._batches.popleft()}").raise_for_status()


def _look(url: str, processes: dict[str, psutil.Process], seen: Seen) -> None:
    for name, process in processes.items():
        seen.memory.setdefault(name, []).append(process.memory_info().rss / MEGABYTE)
    with psycopg.connect(url) as connection:
        for relation, size, is_table, live, dead, vacuums in connection.execute(SIZES):
            seen.sizes.setdefault(relation, []).append(size)
            seen.shares.setdefault(relation, []).append(size / max(live, 1))
            if is_table:
                seen.last[relation] = (live, dead, vacuums)


def _lines(scale: Scale, seen: Seen, rates: Rates) -> Iterator[Line]:
    for name, series in seen.memory.items():
        growth = seen.growth(series)
        yield Line(
            title=f"soak of {scale.soak_minutes:g} minutes, {rates.median('items'):,.0f} items/s "
            f"through all of it: the {name}'s memory",
            figures=f"{max(series):.0f} MB at most",
            ratio=f"the last quarter has {growth:.2f} of the second",
            goal=f"≤ {GROWTH}; ≤ {LIMIT:.0f} MB",
            is_met=growth <= GROWTH and max(series) <= LIMIT,
            numbers={"megabytes": series},
        )
    large = {name: sizes for name, sizes in seen.sizes.items() if sizes[-1] >= LARGE}
    grown = {name: seen.growth(seen.shares[name]) for name in large}
    worst = max(grown, key=lambda name: grown[name], default=None)
    yield Line(
        title="the same soak: tables and indexes",
        figures="; ".join(_told(name, seen) for name in sorted(large)) or "all of them small",
        ratio="" if worst is None else f"for each live row {worst} grew most: {grown[worst]:.2f}",
        goal=f"for each live row the last quarter ≤ {SIZE_GROWTH} of the second",
        is_met=worst is None or grown[worst] <= SIZE_GROWTH,
        numbers={"sizes": seen.sizes, "rows": seen.last},
    )


def _told(name: str, seen: Seen) -> str:
    text = f"{name} {seen.sizes[name][-1] / MEGABYTE:.1f} MB"
    if name not in seen.last:
        return text
    live, dead, vacuums = seen.last[name]
    return f"{text} ({live:,} rows live, {dead:,} dead, vacuumed {vacuums} times)"
