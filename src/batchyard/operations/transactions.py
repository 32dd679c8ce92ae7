"""Let a caller put several operations, and what it reads after them, into one transaction."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from batchyard.clock import Clock
from batchyard.store.db import Connection


class Transactions(Protocol):
    """What an operation needs of a database: transactions and the time."""

    @property
    def clock(self) -> Clock:
        """The time as PostgreSQL sees it."""

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection for one transaction."""


FollowUp = Callable[[Transactions], Awaitable[object]]
"""What a change asks for once it is committed, in transactions of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """An open transaction that operations join, each as a savepoint."""

    connection: Connection
    clock: Clock
    follow_ups: list[FollowUp] = field(default_factory=list)
    """Done in their order after the commit; safe to do where the change came to nothing."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend the connection for one part of the transaction."""
        async with self.connection.transaction():
            yield self.connection


@asynccontextmanager
async def one_transaction(db: Transactions) -> AsyncIterator[Joined]:
    """Open a transaction for several operations, or a part of one: all happen, or none.

    What they leave to be done after the commit is done before this returns.
    """
    follow_ups = db.follow_ups if isinstance(db, Joined) else []
    async with db.transaction() as connection:
        yield Joined(connection=connection, clock=db.clock, follow_ups=follow_ups)
    if not isinstance(db, Joined):
        for follow_up in follow_ups:
            await follow_up(db)
