"""`make test-karrio`: books shipments through a real Karrio server, and kills a worker meanwhile.

Not part of `make test`: it installs a server of its own and takes minutes.
"""

import asyncio
import json
import shutil
import socket
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pypdfium2

from tests.cli.commands import call, running
from tests.karrio_real.relay import Relay
from tests.karrio_real.server import serving
from tests.providers.karrio_requests import SENDER, changed

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build" / "karrio"
SHIPMENTS = 20
KILLED_AT = 6
"""The worker dies while the answer to this purchase is on its way."""
END_SECONDS = 150.0
TIMEOUTS = ("timeout_seconds=8", "draft_timeout_seconds=8", "read_timeout_seconds=8")


def main() -> int:
    """Run; return 1 when something is wrong."""
    scratch = Path(tempfile.mkdtemp(prefix="batchyard-karrio-", dir="/var/tmp"))
    # As root the private PostgreSQL runs as a user of its own.
    scratch.chmod(0o755)
    try:
        return asyncio.run(tell(scratch))
    finally:
        shutil.rmtree(scratch)


async def tell(scratch: Path) -> int:
    """Tell the story; return 1 when something of it is wrong."""
    with serving(HOME, scratch, port=free_port()) as karrio:
        relay = Relay(karrio.url)
        async with relay.server as server:
            key_file = scratch / "karrio.key"
            key_file.write_text(karrio.key)
            told = await book(scratch, server.url, key_file, relay)
        await relay.close()
        return judge(told, relay, Counter(map(_status_and_key, karrio.shipments())))


async def book(scratch: Path, url: str, key_file: Path, relay: Relay) -> dict[str, Any]:
    """Book a batch as its user does; kill the worker in the middle of a purchase."""
    settings = {"BATCHYARD_DATA_DIR": str(scratch / "yard"), "BATCHYARD_SANDBOX_SPEED": "0"}
    log = scratch / "batchyard.log"
    port = free_port()

    async def do(*arguments: str) -> str:
        done = await asyncio.to_thread(call, *arguments, **settings)
        if done.returncode != 0:
            raise RuntimeError(f"batchyard {' '.join(arguments)}: {done.stderr}")
        print(f"$ batchyard {' '.join(arguments)}\n{done.stdout}{done.stderr}", end="", flush=True)
        return done.stdout

    with running("serve", "--port", str(port), log=log, **settings):
        sender = scratch / "sender.json"
        sender.write_text(json.dumps(SENDER))
        token = (
            await asyncio.to_thread(call, "token", "create", "--team", "default", **settings)
        ).stdout.strip()
        settings |= {"BATCHYARD_URL": f"http://127.0.0.1:{port}", "BATCHYARD_TOKEN": token}
        await do("sender", "set", "--file", str(sender))
        options = [word for one in TIMEOUTS for word in ("--set", one)]
        await do(
            *("provider", "add", "karrio", "--kind", "karrio", "--url", url),
            *("--secret-file", str(key_file), *options),
        )
        await do("provider", "test", "karrio")
        await do("route", "set", "--team", "default", "--kind", "shipment", "--provider", "karrio")
        door = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}/api/v2/team/default",
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
            trust_env=False,
        )
        async with door:
            return await _run_batch(door, relay, log, settings)


async def _run_batch(
    door: httpx.AsyncClient, relay: Relay, log: Path, settings: dict[str, str]
) -> dict[str, Any]:
    offered = (await door.get("/routing/services")).json()["data"]
    batch = (await door.post("/booking-batches", json={})).json()["data"]["uuid"]
    shipments = [
        changed(reference=f"REAL-{n}", parties__sender=None) for n in range(1, SHIPMENTS + 1)
    ]
    added = await door.post(f"/booking-batches/{batch}/shipments", json={"data": shipments})
    added.raise_for_status()
    (await door.post(f"/booking-batches/{batch}/dispatch")).raise_for_status()
    relay.holds_purchase = KILLED_AT
    with running("worker", log=log, **settings) as worker:
        await asyncio.wait_for(relay.held.wait(), 60)
        worker.kill()
    print(f"A worker was killed while purchase {KILLED_AT} was under way.", flush=True)
    with running("worker", log=log, **settings):
        state = await _ended(door, batch)
    listed = (await door.get(f"/booking-batches/{batch}/shipments")).json()["data"]
    labels = await door.get(f"/booking-batches/{batch}/documents")
    return {"offered": offered, "batch": state, "shipments": listed, "labels": labels.content}


async def _ended(door: httpx.AsyncClient, batch: str) -> dict[str, Any]:
    async with asyncio.timeout(END_SECONDS):
        while True:
            state: dict[str, Any] = (await door.get(f"/booking-batches/{batch}")).json()["data"]
            if state["finished_at"]:
                return state
            await asyncio.sleep(0.5)


def judge(told: dict[str, Any], relay: Relay, found: Counter[tuple[str, str]]) -> int:
    """Compare our books with Karrio's and the relay's; print what came of it."""
    bought = Counter(key for status, key in found.elements() if status != "draft")
    codes = [parcel["tracking_code"] for one in told["shipments"] for parcel in one["parcels"]]
    pages = len(pypdfium2.PdfDocument(told["labels"]))
    offered = [(one["carrier_code"], one["service_code"]) for one in told["offered"]]
    checks = {
        "the connection's service is offered": offered == [("post-nord", "standard_service")],
        f"{SHIPMENTS} shipments are booked here": told["batch"]["completed_count"] == SHIPMENTS,
        "none failed": told["batch"]["failed_count"] == 0,
        f"{SHIPMENTS} are bought there": len(bought) == SHIPMENTS,
        "none is bought twice": set(bought.values()) == {1} == set(relay.purchases.values()),
        "each has a number of its own": len(set(codes)) == SHIPMENTS and None not in codes,
        f"the labels open: {pages} pages": pages == SHIPMENTS,
    }
    for what, is_so in checks.items():
        print(f"{'ok ' if is_so else 'NOT'} {what}")
    drafts = sum(1 for status, _ in found.elements() if status == "draft")
    print(f"Drafts that were left unbought at Karrio: {drafts}.")
    return 0 if all(checks.values()) else 1


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _status_and_key(shipment: dict[str, Any]) -> tuple[str, str]:
    return str(shipment["status"]), str(shipment["metadata"].get("batchyard_key"))


if __name__ == "__main__":
    sys.exit(main())
