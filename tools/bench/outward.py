"""Row: items through the http provider to a server on this machine, by `batchyard worker`."""

from collections.abc import Iterator

from batchyard.encryption import Vault
from batchyard.models import Kind, Policy
from batchyard.operations.providers import add_provider, set_route
from batchyard.store.db import Database
from tools.bench import yard
from tools.bench.crew import Work, drain_with, running, wait_until_ready
from tools.bench.figures import Line, Rates, Scale
from tools.bench.serving import BATCHYARD, free_port, wait_for

ITEMS = 10_000
CONCURRENCY = 100
GOAL = 1500
NAME = "carrier"


def measure(scale: Scale) -> Iterator[Line]:
    """Drain by one worker over keep-alive connections."""
    work, rates, port = Work(items=scale.of(ITEMS)), Rates(), free_port()
    with (
        yard.postgres() as url,
        running(["tools.bench.carrier", "--port", str(port)]) as carrier,
    ):
        wait_for(port, carrier)
        _lead_to(url, port)
        for _ in range(scale.rounds):
            with running([BATCHYARD, "worker"], settings={"BATCHYARD_DATABASE_URL": url}) as crew:
                wait_until_ready(url, crew)
                rates.add("http", drain_with(url, work, crew=crew))
            yard.empty(url)
    yield Line(
        title=f"{work.items:,} items through the http provider, {CONCURRENCY} at once, 1 worker",
        figures=rates.spread("http"),
        goal=f"≥ {GOAL:,}",
        is_met=rates.median("http") >= GOAL,
        numbers=rates.all(),
    )


def _lead_to(url: str, port: int) -> None:
    team = yard.ensure_team(url)

    async def add(db: Database) -> None:
        await add_provider(
            db,
            Vault(None),
            name=NAME,
            kind="http",
            settings={
                "url": f"http://127.0.0.1:{port}/do",
                "policy": Policy.REPEATABLE,
                "concurrency": CONCURRENCY,
            },
            secret=None,
            allow_private=True,
        )
        await set_route(db, team=team, kind=Kind.SHIPMENT, agent_id=None, provider=NAME)

    yard.do(url, add)
