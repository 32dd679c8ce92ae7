"""What can be wrong around an installation: its folder, its port, its public address."""

import shutil
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import httpx

from batchyard.config import Config
from batchyard.errors import ConfigError
from batchyard.network import fault_of_url
from batchyard.operations.checks import Check
from batchyard.providers.registry import find_kind
from batchyard.store import providers
from batchyard.store.db import Database
from batchyard.store.files import check_document_store, folder_of
from batchyard.store.providers import ProviderRow

LEAST_FREE_BYTES = 2 * 1024**3
KEY_FILE = "secret.key"
ANSWER_SECONDS = 3
PROTECTED_PATH = "/batches/00000000-0000-0000-0000-000000000000"
"""A path of ours that asks for a token."""


def check_folder(config: Config) -> Check:
    """Look at the private PostgreSQL's folder: room on its disk, its key closed to others."""
    name = "data folder"
    if config.database_url is not None:
        return Check(name=name, is_ok=True, text="not used: BATCHYARD_DATABASE_URL is set")
    folder = config.data_dir
    try:
        free = shutil.disk_usage(folder).free
        opened = _open_to_others(folder / KEY_FILE)
    except OSError as error:
        return Check(name=name, is_ok=False, text=f"{folder} cannot be read: {error.strerror}")
    room = f"{free / 1024**3:.1f} GB free"
    if opened:
        key = folder / KEY_FILE
        return Check(name=name, is_ok=False, text=f"others may read {key}. Say: chmod 600 {key}")
    if free < LEAST_FREE_BYTES:
        return Check(name=name, is_ok=False, text=f"{folder}: only {room}. Make room on the disk")
    return Check(name=name, is_ok=True, text=f"{folder}: {room}")


def check_documents(config: Config) -> Check:
    """Look at where labels are kept: that it can be written, and room on its disk."""
    name = "documents"
    try:
        check_document_store(config)
        folder = folder_of(config)
    except ConfigError as error:
        return Check(name=name, is_ok=False, text=error.message)
    if folder is None:
        return Check(name=name, is_ok=True, text=f"are kept in {config.document_store}")
    free = shutil.disk_usage(folder).free
    room = f"{free / 1024**3:.1f} GB free"
    if free < LEAST_FREE_BYTES:
        return Check(name=name, is_ok=False, text=f"{folder}: only {room}. Make room on the disk")
    return Check(name=name, is_ok=True, text=f"are kept in {folder}: {room}")


async def check_port(config: Config) -> Check:
    """Look at who answers where the server would listen."""
    name = "port"
    host = _reachable(config.host)
    where = f"{host}:{config.port}"
    if config.port == 0:
        return Check(name=name, is_ok=True, text="any free one is taken at each start")
    if _is_free(config):
        return Check(name=name, is_ok=True, text=f"{where} is free, no server runs here")
    try:
        async with httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False) as client:
            address = f"[{host}]" if ":" in host else host
            answer = await client.get(f"http://{address}:{config.port}{PROTECTED_PATH}")
    except httpx.HTTPError:
        return Check(
            name=name,
            is_ok=False,
            text=f"{where} is taken by something that speaks no HTTP. Choose another: --port",
        )
    if answer.status_code == httpx.codes.UNAUTHORIZED and "www-authenticate" in answer.headers:
        return Check(name=name, is_ok=True, text=f"a Batchyard server answers on {where}")
    return Check(
        name=name,
        is_ok=False,
        text=f"something else answers on {where}. Choose another port: --port or BATCHYARD_PORT",
    )


async def check_public_address(config: Config, db: Database) -> Check:
    """Look whether providers that items are led to can reach us for callbacks."""
    name = "callbacks"
    base = config.callback_base
    async with db.pool.connection() as conn:
        routed = {route.provider_id for route in await providers.list_routes(conn)}
        rows = await providers.list_all(conn)
    if fault := _fault_of_callbacks(config, [row for row in rows if row.id in routed]):
        return Check(name=name, is_ok=False, text=fault)
    reach = ", which only this machine reaches" if _is_local(base) else ""
    return Check(name=name, is_ok=True, text=f"come to {base}{reach}")


async def remark_callbacks(config: Config, db: Database, *, name: str) -> Sequence[str]:
    """Say where a provider cannot reach us for callbacks; nothing where it may."""
    async with db.pool.connection() as conn:
        row = await providers.find(conn, name=name)
    if row is None or not _is_elsewhere(row):
        return ()
    fault = _fault_of_callbacks(config, [row])
    return () if fault is None else (f"{fault}.",)


def _fault_of_callbacks(config: Config, rows: Sequence[ProviderRow]) -> str | None:
    """Say why these providers cannot reach us; None where they may."""
    base = config.callback_base
    if fault := fault_of_url(base):
        return f"BATCHYARD_PUBLIC_URL {fault}"
    far = sorted(row.name for row in rows if _is_elsewhere(row))
    if not far or not _is_local(base):
        return None
    return (
        f"{', '.join(far)} cannot reach {base}. Set BATCHYARD_PUBLIC_URL to the address under "
        "which others reach this server"
    )


def _is_elsewhere(row: ProviderRow) -> bool:
    """Tell whether who calls back runs on another machine, as far as its settings say."""
    calls_back, place = True, "url"
    with suppress(ConfigError):
        kind = find_kind(row.kind)
        fields = {} if kind.settings_model is None else kind.settings_model.model_fields
        calls_back, place = kind.calls_back, "base_url" if "base_url" in fields else "url"
    url = row.settings.get(place)
    return row.kind != "sandbox" and calls_back and (not isinstance(url, str) or not _is_local(url))


def _is_local(url: str) -> bool:
    host = httpx.URL(url).host
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _reachable(host: str) -> str:
    """Return where to ask for a server that listens on every address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104


def _is_free(config: Config) -> bool:
    try:
        with socket.create_connection((_reachable(config.host), config.port), ANSWER_SECONDS):
            return False
    except OSError:
        return True


def _open_to_others(key: Path) -> bool:
    try:
        return bool(stat.S_IMODE(key.stat().st_mode) & 0o077)
    except FileNotFoundError:
        return False
