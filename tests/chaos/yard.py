"""A whole installation under test: PostgreSQL, providers, server, workers, and their batches."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import orjson
from psycopg.types.json import Jsonb

from batchyard.encryption import Vault
from batchyard.errors import Conflict
from batchyard.intake.shipment_shape import Sender
from batchyard.models import JsonObject, Kind, Policy, RetryPolicy, Team
from batchyard.operations.audit import Actor
from batchyard.operations.batches import dispatch_batch
from batchyard.operations.providers import add_provider, set_route
from batchyard.operations.senders import set_sender
from batchyard.operations.teams import create_team
from batchyard.providers.registry import find_kind
from batchyard.retry import to_json
from batchyard.store.db import TRANSIENT, Database
from batchyard.store.ids import new_id
from batchyard.store.item_intake import NewItem, copy_items
from batchyard.store.migrate import migrate
from tests.chaos import processes
from tests.chaos.plan import Conditions
from tests.chaos.postgres import Postgres
from tests.chaos.processes import Program
from tests.chaos.vendors import Vendor
from tests.ports import kept_port

KEY = "a key for the secrets of this run"
SETTLE_SECONDS = 1.0
GRACE_SECONDS = 4.0
RETRIES = RetryPolicy(statuses=("busy", "no-answer"), max_retries=2, intervals_minutes=(0.01, 0.02))
"""What calls are tried again for: a wanted second effect, under a new key."""

# The judge's own witness: every change of a batch's state, and every item that left its end.
WITNESS = """
CREATE TABLE witnessed (batch_id uuid, item_id uuid, before text, after text);
CREATE FUNCTION witness_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO witnessed VALUES (NEW.id, NULL, OLD.state, NEW.state);
    RETURN NULL;
END $$;
CREATE FUNCTION witness_item() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO witnessed VALUES (NEW.batch_id, NEW.id, OLD.status, NEW.status);
    RETURN NULL;
END $$;
CREATE TRIGGER witness AFTER UPDATE ON batches FOR EACH ROW
    WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION witness_batch();
CREATE TRIGGER witness AFTER UPDATE ON items FOR EACH ROW
    WHEN (OLD.phase = 'done' AND OLD IS DISTINCT FROM NEW) EXECUTE FUNCTION witness_item();
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """A batch whose commit was acknowledged: none of its items may ever be missing."""

    id: UUID
    team: Team
    kind: Kind
    items: Sequence[UUID]


@dataclass(kw_only=True)
class Yard:
    """What runs, and what was put into it."""

    conditions: Conditions
    folder: Path
    postgres: Postgres
    server: Program
    workers: list[Program]
    outside: Program
    outside_url: str
    server_url: str
    settings: dict[str, str]
    db: Database
    ports: ExitStack
    teams: dict[Policy, Team] = field(default_factory=dict)
    loads: list[Load] = field(default_factory=list)
    _agents: dict[Policy, UUID] = field(default_factory=dict)

    @property
    def programs(self) -> Sequence[Program]:
        """Everything of ours that runs."""
        return [self.server, *self.workers]

    @property
    def lanes(self) -> Sequence[tuple[Policy, Kind]]:
        """What batches are made of, one after the other."""
        vendor = self.conditions.vendor
        return list(product(Policy, Kind)) if vendor is None else [(vendor.policy, vendor.kind)]

    @property
    def url(self) -> str:
        """The database."""
        return self.db.url

    async def open(self) -> None:
        """Add the providers and lead a team to each."""
        await self.db.open()
        async with self.db.transaction() as conn:
            await conn.execute(WITNESS.encode())
        if self.conditions.vendor is not None:
            await self._open_vendor(self.conditions.vendor)
            return
        for policy in Policy:
            await self._open_lane(policy, kind="http", settings=self._settings(policy))

    async def _open_vendor(self, vendor: Vendor) -> None:
        await vendor.prepare(self.outside_url)
        settings = vendor.settings_at(
            self.outside_url,
            concurrency=self.conditions.concurrency,
            patience=self.conditions.patience,
        )
        team = await self._open_lane(
            vendor.policy, kind=vendor.name, settings=settings, secret=vendor.secret
        )
        if vendor.sender is not None:
            sender = Sender.model_validate(vendor.sender)
            await set_sender(self.db, team=team, sender=sender, actor=Actor(name="chaos"))

    async def _open_lane(
        self, policy: Policy, *, kind: str, settings: JsonObject, secret: str | None = None
    ) -> Team:
        """Add a provider, and lead a team to it."""
        team = await create_team(self.db, name=f"Team {policy}")
        await add_provider(
            self.db,
            Vault(KEY),
            name=policy,
            kind=kind,
            settings=settings,
            secret=secret,
            allow_private=True,
        )
        for does in find_kind(kind).kinds:
            await set_route(self.db, team=team, kind=does, agent_id=None, provider=policy)
        self.teams[policy] = team
        self._agents[policy] = await self._make_agent(team)
        return team

    async def make_batch(self, policy: Policy, kind: Kind, *, items: int) -> Load:
        """Put a batch into the yard and dispatch it, whatever PostgreSQL does meanwhile."""
        load = Load(
            id=new_id(),
            team=self.teams[policy],
            kind=kind,
            items=[new_id() for _ in range(items)],
        )
        while True:
            try:
                await self._insert(load, self._agents[policy] if kind is Kind.CALL else None)
                break
            except TRANSIENT:
                await asyncio.sleep(0.2)
        self.loads.append(load)
        while True:
            try:
                await dispatch_batch(self.db, team=load.team, kind=kind, batch_id=load.id)
            except TRANSIENT:
                await asyncio.sleep(0.2)
            except Conflict:
                # The commit was not acknowledged, but made.
                return load
            else:
                return load

    async def read_ledger(self) -> dict[str, object]:
        """Ask the outside world what it did."""
        vendor = self.conditions.vendor
        path = "/ledger" if vendor is None else vendor.books_path
        async with httpx.AsyncClient(timeout=60) as client:
            ledger: dict[str, object] = orjson.loads(
                (await client.get(f"{self.outside_url}{path}")).content
            )
            return ledger if vendor is None else vendor.read_books(ledger)

    async def close(self) -> None:
        """Kill everything; nothing needs a good end."""
        for program in [*self.programs, self.outside]:
            program.kill()
        await self.db.close()
        self.postgres.stop_immediately()
        self.ports.close()

    def _settings(self, policy: Policy) -> dict[str, object]:
        settings: dict[str, object] = {
            "url": f"{self.outside_url}/{policy}/do",
            "policy": policy.value,
            "timeout_seconds": self.conditions.timeout_seconds,
            "look_up_after_seconds": 2,
            "concurrency": self.conditions.concurrency,
        }
        if policy is not Policy.NEITHER:
            settings["result_url"] = f"{self.outside_url}/results"
            settings["ask_settles_after_seconds"] = SETTLE_SECONDS
        return settings

    async def _make_agent(self, team: Team) -> UUID:
        agent_id, now = uuid4(), self.db.clock()
        async with self.db.transaction() as conn:
            await conn.execute(
                "INSERT INTO agents (id, team_id, name, created_at, updated_at)"
                " VALUES (%s, %s, 'agent', %s, %s)",
                (agent_id, team.id, now, now),
            )
        return agent_id

    async def _insert(self, load: Load, agent_id: UUID | None) -> None:
        now = self.db.clock()
        async with self.db.transaction() as conn:
            known = await conn.execute("SELECT FROM batches WHERE id = %s", (load.id,))
            if known.rowcount:
                return
            await conn.execute(
                "INSERT INTO batches (id, team_id, kind, state, agent_id, retry_policy,"
                " created_at, updated_at, total_rows)"
                " VALUES (%s, %s, %s, 'open', %s, %s, %s, %s, %s)",
                (
                    load.id,
                    load.team.id,
                    load.kind,
                    agent_id,
                    Jsonb(to_json(RETRIES)),
                    now,
                    now,
                    len(load.items),
                ),
            )
            rows = [self._row(n, item_id) for n, item_id in enumerate(load.items)]
            await copy_items(conn, batch_id=load.id, team_id=load.team.id, rows=rows, now=now)

    def _row(self, n: int, item_id: UUID) -> NewItem:
        vendor = self.conditions.vendor
        if vendor is None:
            return NewItem(id=item_id, position=n, payload={"n": n})
        number = len(self.loads) * self.conditions.items + n
        return NewItem(
            id=item_id, position=n, payload=vendor.payload(n), number=vendor.number(number)
        )


async def build(conditions: Conditions, folder: Path) -> Yard:
    """Start PostgreSQL, the outside world, the server and the workers."""
    postgres = Postgres(folder / "postgres")
    postgres.start()
    try:
        postgres.wait_until_ready()
        url = postgres.create("yard")
        migrate(url)
    except BaseException:
        postgres.stop_immediately()
        raise
    # Their servers are killed and started again: nobody else may take the ports meanwhile.
    ports = ExitStack()
    outside_port, server_port = (ports.enter_context(kept_port()) for _ in range(2))
    server_url = f"http://127.0.0.1:{server_port}"
    settings = {
        "BATCHYARD_DATABASE_URL": url,
        "BATCHYARD_PUBLIC_URL": server_url,
        "BATCHYARD_SECRET_KEY": KEY,
        "BATCHYARD_UNKNOWN_GRACE_SECONDS": str(GRACE_SECONDS),
        "BATCHYARD_WORKER_SLOTS": "100",
        "BATCHYARD_STOP_SECONDS": "3",
        # A provider that mostly fails would be left alone for a while; here it must not be.
        "BATCHYARD_BRAKE_SHARE": "1",
    }
    outside = _describe_outside(conditions, port=outside_port, folder=folder)
    yard = Yard(
        conditions=conditions,
        folder=folder,
        postgres=postgres,
        server=processes.server(port=server_port, settings=settings, folder=folder),
        workers=[
            processes.worker(f"worker-{n}", settings=settings, folder=folder)
            for n in range(conditions.workers)
        ],
        outside=outside,
        outside_url=f"http://127.0.0.1:{outside_port}",
        server_url=server_url,
        settings=settings,
        db=Database(url, max_connections=4),
        ports=ports,
    )
    try:
        outside.start()
        await answers(yard.outside_url, first=outside, seconds=60 * conditions.patience)
        await yard.open()
        for program in yard.programs:
            program.start()
        await answers(server_url, first=yard.server, seconds=60 * conditions.patience)
    except BaseException:
        await yard.close()
        raise
    return yard


def _describe_outside(conditions: Conditions, *, port: int, folder: Path) -> Program:
    if (vendor := conditions.vendor) is not None:
        options = vendor.options(patience=conditions.patience)
        return processes.fake(vendor.name, port=port, options=options, folder=folder)
    return processes.counting_server(
        port=port,
        seed=conditions.seed,
        timeout_seconds=conditions.timeout_seconds,
        settle_seconds=SETTLE_SECONDS,
        folder=folder,
    )


async def answers(url: str, *, first: Program | None = None, seconds: float = 60) -> None:
    """Wait until a server answers, whatever it says; at its `first` start it must not end."""
    async with asyncio.timeout(seconds), httpx.AsyncClient() as client:
        while True:
            try:
                await client.get(f"{url}/callbacks/none")
            except httpx.HTTPError:
                if first is not None and not first.is_running:
                    raise RuntimeError(first.log.read_text()[-2000:]) from None
                await asyncio.sleep(0.05)
            else:
                return
