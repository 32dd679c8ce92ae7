import json
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from batchyard.clock import machine_now
from batchyard.config import Config
from batchyard.encryption import Vault
from batchyard.models import BatchState, Kind
from batchyard.operations import checks, machine_checks
from batchyard.operations.providers import set_route
from batchyard.store.db import Database
from tests.cli.commands import call, running
from tests.cli.stored import KEY, add_http, default_team, make_ready, make_unknown, write
from tests.cli.test_commands import LOST_URL
from tests.cli.test_restored import beat
from tests.waiting import wait_until


@pytest.fixture
def port() -> str:
    """Return the number of a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def doctor(url: str, port: str, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    result = call(
        *("doctor", "--port", port, *options),
        **{"BATCHYARD_DATABASE_URL": url, "BATCHYARD_SECRET_KEY": KEY, **settings},
    )
    assert "Traceback" not in result.stderr
    return result


def findings(url: str, port: str, **settings: str) -> Mapping[str, str]:
    """Return what needs a cure; the exit code must agree."""
    result = doctor(url, port, "--json", **settings)
    checks = json.loads(result.stdout)
    found = {check["name"]: check["text"] for check in checks if not check["is_ok"]}
    assert result.returncode == (1 if found else 0)
    return found


async def test_healthy_installation_is_all_ok(db: Database, database_url: str, port: str) -> None:
    await beat(db, ago=timedelta(seconds=-30))

    result = doctor(database_url, port)

    assert result.returncode == 0, result.stdout
    lines = result.stdout.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    for word in (
        "PostgreSQL",
        "schema",
        "clock",
        "workers",
        "secrets",
        "data folder",
        "documents",
        "port",
    ):
        assert any(line[5:].startswith(word) for line in lines)
    assert "1 alive" in result.stdout
    assert findings(database_url, port) == {}


async def test_every_finding_has_its_cure(db: Database, database_url: str, port: str) -> None:
    team = await default_team(db)
    await beat(db, ago=timedelta(hours=1))
    await add_http(db, "carrier")
    await write(
        db,
        'UPDATE providers SET settings = settings || \'{"url": "http://192.0.2.1:9/x"}\','
        " allow_private = false WHERE name = 'carrier'",
    )
    await set_route(db, team=team, kind=Kind.SHIPMENT, agent_id=None, provider="carrier")
    await make_unknown(db, team=team, n=2)

    found = findings(database_url, port)

    assert set(found) == {"workers", "provider carrier", "callbacks", "backup", "outcomes"}
    assert "60 min ago" in found["workers"]
    assert "batchyard worker" in found["workers"]
    assert "batchyard provider test carrier" in found["provider carrier"]
    assert "BATCHYARD_PUBLIC_URL" in found["callbacks"]
    assert "batchyard restored" in found["backup"]
    assert "2 are unknown" in found["outcomes"]
    public = findings(database_url, port, BATCHYARD_PUBLIC_URL="https://yard.example")
    assert "callbacks" not in public


async def test_clock_that_differs_from_the_databases_is_a_finding(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "machine_now", lambda: machine_now() - timedelta(seconds=6))

    looked_at = await checks.check_database(Config(), db, Vault(KEY))

    [clock] = [check for check in looked_at if check.name == "clock"]
    assert not clock.is_ok
    assert re.match(r"differs from PostgreSQL's by [56]\.\d+ s\. ", clock.text)
    assert "(NTP)" in clock.text
    monkeypatch.setattr(checks, "machine_now", lambda: machine_now() - timedelta(seconds=4))
    looked_at = await checks.check_database(Config(), db, Vault(KEY))
    assert [check.is_ok for check in looked_at if check.name == "clock"] == [True]


@pytest.mark.parametrize("free,is_ok", [(2 * 1024**3 - 1, False), (2 * 1024**3, True)])
def test_disk_that_is_nearly_full_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, is_ok: bool
) -> None:
    room = SimpleNamespace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    (tmp_path / "labels").mkdir()
    config = Config(data_dir=tmp_path, document_store=f"file://{tmp_path}/labels")

    for check in (machine_checks.check_folder(config), machine_checks.check_documents(config)):
        assert check.is_ok is is_ok
        assert str(tmp_path) in check.text
        assert "2.0 GB free" in check.text
        assert ("Make room on the disk" in check.text) is not is_ok


async def test_secret_that_no_key_opens_is_a_finding(
    db: Database, database_url: str, port: str
) -> None:
    await add_http(db, "carrier")
    await write(db, "UPDATE providers SET secret = 'locked by another' WHERE name = 'carrier'")

    assert "BATCHYARD_SECRET_KEY is not the key" in findings(database_url, port)["secrets"]
    without = findings(database_url, port, BATCHYARD_SECRET_KEY="")
    assert "set BATCHYARD_SECRET_KEY" in without["secrets"]


async def test_batches_that_wait_since_a_restore_are_a_finding(
    db: Database, database_url: str, port: str
) -> None:
    batch_id = await make_ready(db, team=await default_team(db), state=BatchState.PAUSED)
    await write(db, "UPDATE batches SET wait_reason = 'restored' WHERE id = %s", batch_id)

    assert "batchyard resume --all-restored" in findings(database_url, port)["backup"]


def test_documents_that_cannot_be_kept_are_a_finding(
    database_url: str, port: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    store = f"file://{tmp_path}/file/below"

    found = findings(database_url, port, BATCHYARD_DOCUMENT_STORE=store)

    assert "BATCHYARD_DOCUMENT_STORE" in found["documents"]


def test_database_that_is_lost_is_a_finding(port: str) -> None:
    found = findings(LOST_URL, port)

    assert set(found) == {"PostgreSQL"}
    assert "cannot be reached" in found["PostgreSQL"]
    assert "hidden" not in found["PostgreSQL"]


def test_database_without_schema_is_a_finding(empty_database_url: str, port: str) -> None:
    assert "batchyard migrate" in findings(empty_database_url, port)["schema"]


def test_public_address_that_is_none_is_a_finding(database_url: str, port: str) -> None:
    found = findings(database_url, port, BATCHYARD_PUBLIC_URL="yard.example")

    assert "BATCHYARD_PUBLIC_URL must begin with" in found["callbacks"]


def test_port_of_somebody_else_is_a_finding(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        found = findings(database_url, port)

    assert "--port" in found["port"]


def test_port_of_our_own_server_is_ok(database_url: str, port: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    settings = {"BATCHYARD_DATABASE_URL": database_url}
    with running("serve", "--port", port, log=log, **settings):
        wait_until(lambda: "server.started" in log.read_text(), timeout_seconds=30)
        result = doctor(database_url, port)

    assert "a Batchyard server answers on" in result.stdout
