"""What can be wrong with an installation, each with its cure."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchyard.clock import machine_now
from batchyard.config import Config
from batchyard.encryption import Vault
from batchyard.errors import BatchyardError, ConfigError
from batchyard.operations.providers import check_row
from batchyard.store import health, providers
from batchyard.store.db import Database
from batchyard.store.health import Vitals
from batchyard.store.migrate import check_schema, newest_schema
from batchyard.store.providers import ProviderRow

SILENT_AFTER = timedelta(seconds=10)
"""A worker that has not beaten for so long is taken for dead."""

CLOCK_TOLERANCE = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was looked at; `text` says what was found, or what to do about it."""

    name: str
    is_ok: bool
    text: str


async def check_database(config: Config, db: Database, vault: Vault) -> list[Check]:
    """Look at everything the open database knows; nothing is changed."""
    checks = []
    async with db.pool.connection() as conn:
        try:
            await check_schema(conn)
        except ConfigError as error:
            return [Check(name="schema", is_ok=False, text=error.message)]
        vitals = await health.read_vitals(conn, since=db.clock() - SILENT_AFTER)
        rows = [row for row in await providers.list_all(conn) if row.removed_at is None]
    checks.append(
        Check(name="PostgreSQL", is_ok=True, text=f"version {vitals.server_version} answers")
    )
    checks.append(Check(name="schema", is_ok=True, text=f"version {newest_schema().version}"))
    checks.append(_check_clock(db.clock() - machine_now()))
    checks.append(_check_workers(vitals, now=db.clock()))
    checks.append(_check_secrets(vitals, rows, vault, config))
    checks += await asyncio.gather(*(_check_provider(db, vault, row) for row in rows))
    checks.append(_check_restore(vitals))
    checks.append(_check_unknown(vitals))
    return checks


def _check_clock(offset: timedelta) -> Check:
    seconds = offset.total_seconds()
    is_ok = abs(offset) <= CLOCK_TOLERANCE
    cure = "" if is_ok else ". Let both machines follow a time server (NTP)"
    words = f"differs from PostgreSQL's by {abs(seconds):.3f} s{cure}"
    return Check(name="clock", is_ok=is_ok, text=words)


def _check_workers(vitals: Vitals, *, now: datetime) -> Check:
    if vitals.alive_workers == 0:
        last = (
            "none has ever run"
            if vitals.last_beat_at is None
            else f"the last one beat {_ago(now - vitals.last_beat_at)} ago"
        )
        return Check(
            name="workers",
            is_ok=False,
            text=f"none is alive, {last}. Start one: batchyard worker, or up",
        )
    beat = (
        "" if vitals.last_beat_at is None else f", last beat {_ago(now - vitals.last_beat_at)} ago"
    )
    return Check(name="workers", is_ok=True, text=f"{vitals.alive_workers} alive{beat}")


def _check_secrets(
    vitals: Vitals, rows: Sequence[ProviderRow], vault: Vault, config: Config
) -> Check:
    name = "secrets"
    for row in rows:
        if row.secret is None:
            continue
        try:
            vault.open(row.secret)
        except ConfigError as error:
            return Check(name=name, is_ok=False, text=f"{row.name}: {error.message}")
    if vitals.stored_secrets:
        return Check(
            name=name, is_ok=True, text=f"{vitals.stored_secrets} stored, the key opens them"
        )
    key = "no key is set" if config.secret_key is None else "a key is set"
    return Check(name=name, is_ok=True, text=f"none stored, {key}")


async def _check_provider(db: Database, vault: Vault, row: ProviderRow) -> Check:
    name = f"provider {row.name}"
    try:
        remarks = await check_row(db, vault, row)
    except BatchyardError as error:
        fault = error.message.rstrip(".")
        return Check(
            name=name,
            is_ok=False,
            text=f"{fault}. Mend it, then: batchyard provider test {row.name}",
        )
    return Check(name=name, is_ok=True, text=" ".join(["can be used.", *remarks]))


def _check_restore(vitals: Vitals) -> Check:
    name = "backup"
    if vitals.restored_batches:
        return Check(
            name=name,
            is_ok=False,
            text=f"{vitals.restored_batches} batches wait since the restore. Look at them, then: "
            "batchyard resume --all-restored",
        )
    if vitals.active_batches and vitals.lost_workers and not vitals.alive_workers:
        return Check(
            name=name,
            is_ok=False,
            text=f"{vitals.active_batches} batches run, and no worker ended in good order. If this "
            "database came from a backup, say `batchyard restored` before you start a worker",
        )
    return Check(name=name, is_ok=True, text="no sign of a restore that was not finished")


def _check_unknown(vitals: Vitals) -> Check:
    if vitals.unknown_items:
        return Check(
            name="outcomes",
            is_ok=False,
            text=f"{vitals.unknown_items} are unknown and wait for a person: batchyard unknown, "
            "then batchyard resolve",
        )
    return Check(name="outcomes", is_ok=True, text="none is unknown")


def _ago(age: timedelta) -> str:
    seconds = max(0, round(age.total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
