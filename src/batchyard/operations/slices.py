"""Work in more than one transaction: what each slice commits beside it, and what the last one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from batchyard.store.db import Connection

Commit = Callable[[Connection, int], Awaitable[None]]
"""Writes something, given how many items are done, in the transaction that did the last of them."""


async def _nothing(conn: Connection, done: int) -> None:
    del conn, done


@dataclass(frozen=True, kw_only=True, slots=True)
class Slices:
    """How work goes on that may have been broken off before, and is done once all the same."""

    began_at: datetime
    """Of the first try: what happened since is not for this work."""
    done: int = 0
    """Items that earlier tries did."""
    advance: Commit = field(default=_nothing)
    """Called in each slice."""
    seal: Commit = field(default=_nothing)
    """Called in the last slice, once."""
