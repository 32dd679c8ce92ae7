"""The providers as the database has them, each opened and ready for items."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from batchyard import lifecycle
from batchyard.clock import monotonic
from batchyard.config import Config
from batchyard.encryption import Vault
from batchyard.errors import BatchyardError
from batchyard.models import Rate, Request
from batchyard.providers.base import Keep, Provider, Report, Surroundings, keep_nothing
from batchyard.providers.registry import close_provider, open_provider
from batchyard.signing import sign_callback
from batchyard.store import installation, providers
from batchyard.store.db import TRANSIENT, Database
from batchyard.store.providers import ProviderRow

SANDBOX = "sandbox"
REFRESH_SECONDS = 1.0
"""How late a process learns of the new settings of a provider."""

log = structlog.get_logger("batchyard.switchboard")


@dataclass(frozen=True, kw_only=True, slots=True)
class Connected:
    """A provider ready for items, and how it wants them."""

    provider_id: int
    provider: Provider
    concurrency: int | None = None
    """Items in flight at once unless a limit says otherwise; None is without limit."""
    rate: Rate | None = None
    """How fast items start unless a limit says otherwise; None is without limit."""


class Switchboard(Protocol):
    """Connects items to providers."""

    async def choose(self, provider_id: int | None) -> Connected | None:
        """Return where new items go whose route leads to this provider; None: there is none."""
        ...

    def connected(self, provider_id: int) -> Connected | None:
        """Return a provider by id, for items it was given before; None when it cannot be opened."""
        ...

    async def watch(self) -> None:
        """Follow changes until cancelled."""
        ...

    async def close(self) -> None:
        """Close every provider."""
        ...


class Exchange:
    """The switchboard over the table `providers`. Open it with `open_exchange`."""

    def __init__(
        self, config: Config, db: Database, *, callback_key: bytes, report: Report, keep: Keep
    ) -> None:
        self._config = config
        self._db = db
        self._vault = Vault(
            None if config.secret_key is None else config.secret_key.get_secret_value()
        )
        self._callback_key = callback_key
        self._report = report
        self._keep = keep
        self._rows: dict[int, ProviderRow] = {}
        self._open: dict[int, Connected] = {}
        self._sandbox_id = 0
        self._retired: list[tuple[float, Provider]] = []

    async def choose(self, provider_id: int | None) -> Connected | None:
        """Return the provider a route leads to, just added or not; without a route the sandbox.

        A route to a provider that cannot be opened leads nowhere: its items wait, for elsewhere
        they would be done by somebody the operator did not choose.
        """
        if provider_id is None:
            return self._open[self._sandbox_id]
        if provider_id not in self._rows:
            await self.refresh()
        return self._open.get(provider_id)

    def connected(self, provider_id: int) -> Connected | None:
        """Return a provider by id."""
        return self._open.get(provider_id)

    async def refresh(self) -> None:
        """Read the providers; reopen those that changed."""
        async with self._db.pool.connection() as conn:
            rows = await providers.list_all(conn)
        for row in rows:
            self._open_row(row)
        await self._close_retired(monotonic())
        self._sandbox_id = next(row.id for row in rows if row.kind == SANDBOX)

    async def watch(self) -> None:
        """Refresh from time to time, until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self.refresh()
            except TRANSIENT as error:
                log.warning("providers.unread", error=str(error))

    async def close(self) -> None:
        """Close every provider."""
        for line in self._open.values():
            await close_provider(line.provider)
        await self._close_retired(math.inf)

    async def _close_retired(self, by: float) -> None:
        """Close replaced providers once nothing can still be under way through them."""
        due = [one for one in self._retired if one[0] <= by]
        self._retired = [one for one in self._retired if one[0] > by]
        for _, provider in due:
            await close_provider(provider)

    def _open_row(self, row: ProviderRow) -> None:
        known = self._rows.get(row.id)
        self._rows[row.id] = row
        if known is not None and _is_same(known, row):
            return
        try:
            provider = open_provider(row.kind, self._surroundings(row))
        except BatchyardError as error:
            log.warning("provider.unusable", provider=row.name, error=error.message)
            # As it was it is no longer right.
            self._retire(self._open.pop(row.id, None))
            return
        self._retire(self._open.get(row.id))
        self._open[row.id] = Connected(
            provider_id=row.id,
            provider=provider,
            concurrency=provider.concurrency,
            rate=provider.rate,
        )

    def _retire(self, line: Connected | None) -> None:
        """Close a provider once nothing can still be under way through it."""
        if line is not None:
            grace = (lifecycle.SEND_WITHIN + line.provider.promise.timeout).total_seconds()
            self._retired.append((monotonic() + grace, line.provider))

    def _surroundings(self, row: ProviderRow) -> Surroundings:
        own = {"speed": self._config.sandbox_speed, "seed": self._config.sandbox_seed}
        return Surroundings(
            name=row.name,
            clock=self._db.clock,
            report=self._report,
            settings=own if row.kind == SANDBOX else row.settings,
            secret=None if row.secret is None else self._vault.open(row.secret),
            allow_private=row.allow_private,
            callback_address=self._callback_address,
            keep=self._keep,
        )

    def _callback_address(self, request: Request) -> str:
        token = sign_callback(self._callback_key, item_id=request.item_id, attempt=request.attempt)
        return f"{self._config.callback_base}/callbacks/{token}"


class SwitchboardOpener(Protocol):
    """Builds the switchboard of a process."""

    async def __call__(
        self, config: Config, db: Database, *, report: Report, keep: Keep = keep_nothing
    ) -> Switchboard:
        """Open every provider."""
        ...


async def open_exchange(
    config: Config, db: Database, *, report: Report, keep: Keep = keep_nothing
) -> Switchboard:
    """Open the switchboard over this database."""
    async with db.transaction() as conn:
        key = await installation.ensure_callback_key(conn)
    exchange = Exchange(config, db, callback_key=key, report=report, keep=keep)
    await exchange.refresh()
    return exchange


def _is_same(known: ProviderRow, row: ProviderRow) -> bool:
    def essence(one: ProviderRow) -> tuple[str, Mapping[str, object], bytes | None, bool]:
        return one.kind, one.settings, one.secret, one.allow_private

    return essence(known) == essence(row)
