"""Row: single calls by HTTP beside a running batch of the same team."""

import time
from collections.abc import Iterator
from uuid import UUID

import httpx
import psycopg

from batchyard.clock import machine_now
from batchyard.models import Kind, Policy
from tools.bench import filling, yard
from tools.bench.crew import Habits, at_work
from tools.bench.figures import Line, Rates, Scale, percentile
from tools.bench.serving import serving

ITEMS = 200_000
HABITS = Habits(policy=Policy.NEITHER, slots=500, team_concurrency=500, seconds=0.25)
"""The usual settings, an intent of its own, and a provider that takes its time."""
CALLS = 100
PAUSE_SECONDS = 0.05
WARM_SECONDS = 2.0
PATIENCE_SECONDS = 30.0
GOAL_MS = 200.0

FIND = """
SELECT i.id, extract(epoch FROM i.intent_at) FROM items i
 WHERE i.id = ANY(%s) AND i.intent_at IS NOT NULL
"""


def measure(scale: Scale) -> Iterator[Line]:
    """Place calls one by one: from the request to the intent that is committed before sending."""
    items, calls, rates = scale.of(ITEMS, least=30_000), scale.of(CALLS, least=10), Rates()
    every: list[float] = []
    with yard.postgres() as url, serving(url) as (port, _):
        agent, token = filling.make_agent(url), yard.make_token(url)
        batch = filling.fill(url, items=items, kind=Kind.CALL, agent_id=agent)
        yard.settle(url)
        with at_work(url, count=1, habits=HABITS) as crew:
            yard.dispatch(url, batch, kind=Kind.CALL)
            time.sleep(WARM_SECONDS)
            for _ in range(scale.rounds):
                added = _place(url, port, token, agent, calls=calls)
                rates.add("p95", percentile(added, 0.95) * 1000, unit="ms")
                every += added
                crew.check()
            left = yard.count_ready(url, batch)
    if not left:
        raise RuntimeError("the batch ended before the last call")
    yield Line(
        title=f"a single call beside a running batch of {items:,} of the same team",
        figures=f"p95 {rates.spread('p95', 'ms')} of {calls} calls each, from the request until "
        f"it is sent; median {percentile(every, 0.5) * 1000:.0f} ms",
        goal=f"p95 ≤ {GOAL_MS:.0f} ms",
        is_met=rates.median("p95") <= GOAL_MS,
        numbers={**rates.all(), "seconds": every, "left": left},
    )


def _place(url: str, port: int, token: str, agent: UUID, *, calls: int) -> list[float]:
    """Place calls, and return how long each took until its intent was written."""
    asked_at: dict[UUID, float] = {}
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
        for number in range(calls):
            body = {"agent_id": str(agent), "recipient_phone_number": f"+4520{number:06d}"}
            at = machine_now().timestamp()
            answer = client.post("/call", json=body)
            answer.raise_for_status()
            asked_at[UUID(answer.json()["execution_id"])] = at
            time.sleep(PAUSE_SECONDS)
    return _wait(url, asked_at)


def _wait(url: str, asked_at: dict[UUID, float]) -> list[float]:
    ends_at = machine_now().timestamp() + PATIENCE_SECONDS
    with psycopg.connect(url, autocommit=True) as connection:
        while machine_now().timestamp() < ends_at:
            sent = connection.execute(FIND, (list(asked_at),)).fetchall()
            if len(sent) == len(asked_at):
                return [float(at) - asked_at[item] for item, at in sent]
            time.sleep(yard.LOOK_SECONDS)
    raise TimeoutError(f"calls were not sent within {PATIENCE_SECONDS:.0f} s")
