"""The two example lists of the demo, loaded and followed over HTTP like any client does."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Protocol, cast

import httpx

import batchyard
from batchyard.clock import machine_now
from batchyard.errors import BatchyardError, ConfigError
from batchyard.lifecycle import ENDED_STATUSES
from batchyard.models import Kind

Answer = Mapping[str, object]

TEAM = "default"
AGENT_ID = "8d5f4c1e-3b7a-4f5e-9a64-0c2d1e6b7f10"
"""The agent of the demo's calls: the same at each start, so that its list grows."""
SHOWN_BATCHES = 3
"""How many batches of a list are shown; each start adds one."""
CHUNK = 1000
"""Most shipments the Smart Send door takes in one request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How far a list has come."""

    done: int
    total: int
    has_ended: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedRow:
    """A row of the file that became no item."""

    line: int
    value: str
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """The numbers of an ended list: total is the sum of the counts, total + refused the rows."""

    rows: int
    refused: Sequence[RefusedRow]
    total: int
    counts: Mapping[str, int]

    @property
    def is_balanced(self) -> bool:
        """Whether every row of the file is accounted for."""
        is_complete = self.total + len(self.refused) == self.rows
        return is_complete and self.total == sum(self.counts.values())


class ExampleList(Protocol):
    """One list of the demo."""

    title: str
    list_path: str
    newest: str
    """The query that asks for the newest batches only."""

    async def load(self) -> None:
        """Send the file and let it run."""

    async def standing(self) -> Standing:
        """Ask how far it has come."""

    async def ledger(self) -> Ledger:
        """Ask for the numbers."""

    async def listed(self) -> object:
        """Return what the door's list answers."""


def examples_folder() -> Path:
    """Return where the example files are: in the package, or beside the sources."""
    package = Path(batchyard.__file__).parent
    for folder in (package / "examples", package.parents[1] / "examples"):
        if folder.is_dir():
            return folder
    raise ConfigError("The example files are missing; install Batchyard again.")


class Calls:
    """`calls.csv`, through the Bolna door."""

    title = "Calls, through the Bolna door"
    list_path = f"/batches/{AGENT_ID}/all"
    newest = f"?page_size={SHOWN_BATCHES}"

    def __init__(self, client: httpx.AsyncClient, *, file: Path) -> None:
        self._client = client
        self._file = file
        self._batch_id = ""

    async def load(self) -> None:
        """Upload the file and schedule it for now."""
        made = await _ask(
            self._client,
            "POST",
            "/batches",
            data={"agent_id": AGENT_ID},
            files={"file": (self._file.name, self._file.read_bytes(), "text/csv")},
        )
        self._batch_id = str(made["batch_id"])
        now = machine_now().astimezone(UTC).isoformat()
        await _ask(
            self._client,
            "POST",
            f"/batches/{self._batch_id}/schedule",
            data={"scheduled_at": now},
        )

    async def standing(self) -> Standing:
        """Ask how many calls have ended."""
        batch = await self._read()
        ended = ENDED_STATUSES[Kind.CALL]
        return Standing(
            done=sum(n for word, n in _counts(batch["execution_status"]).items() if word in ended),
            total=_number(batch["valid_contacts"]),
            has_ended=batch["status"] in ("executed", "completed", "stopped", "failed"),
        )

    async def ledger(self) -> Ledger:
        """Ask for the numbers and the refused rows."""
        batch = await self._read()
        return Ledger(
            rows=_number(batch["total_contacts"]),
            refused=await self._list_refused(),
            total=_number(batch["valid_contacts"]),
            counts=_counts(batch["execution_status"]),
        )

    async def listed(self) -> object:
        """Return the newest batches of the agent."""
        response = await _send(self._client, "GET", self.list_path + self.newest)
        return response.json()

    async def _read(self) -> Answer:
        return await _ask(self._client, "GET", f"/batches/{self._batch_id}")

    async def _list_refused(self) -> list[RefusedRow]:
        """Ask the operator API, which knows the lines; the file is small: one page has all."""
        with self._file.open(encoding="utf-8-sig", newline="") as file:
            place = next(csv.reader(file)).index("contact_number")
        path = f"/api/v1/batches/{self._batch_id}/rows?limit=1000"
        return [
            RefusedRow(
                line=_number(row["line"]),
                value=str(cast("Sequence[object]", row["cells"])[place]),
                code=str(row["code"]),
                reason=str(row["reason"]),
            )
            for row in cast("Sequence[Answer]", (await _ask(self._client, "GET", path))["data"])
        ]


class Shipments:
    """`shipments.json`, through the Smart Send door."""

    title = "Shipments, through the Smart Send door"
    list_path = f"/api/v2/team/{TEAM}/booking-batches"
    newest = f"?per_page={SHOWN_BATCHES}"

    def __init__(self, client: httpx.AsyncClient, *, file: Path) -> None:
        self._client = client
        self._shipments: list[object] = json.loads(file.read_text(encoding="utf-8"))["data"]
        self._path = ""

    async def load(self) -> None:
        """Make a batch, add the shipments, dispatch it."""
        made = await _ask(
            self._client, "POST", self.list_path, json={"reference": "Example shipments"}
        )
        self._path = f"{self.list_path}/{_object(made['data'])['uuid']}"
        for start in range(0, len(self._shipments), CHUNK):
            chunk = self._shipments[start : start + CHUNK]
            await _ask(self._client, "POST", f"{self._path}/shipments", json={"data": chunk})
        await _ask(self._client, "POST", f"{self._path}/dispatch")

    async def standing(self) -> Standing:
        """Ask how many shipments are booked or failed."""
        batch = await self._read()
        return Standing(
            done=_number(batch["completed_count"]) + _number(batch["failed_count"]),
            total=_number(batch["total_count"]),
            has_ended=batch["state"] in ("completed", "failed"),
        )

    async def ledger(self) -> Ledger:
        """Ask for the numbers; this door refuses whole requests, never a single row."""
        batch = await self._read()
        counts = {
            "booked": _number(batch["completed_count"]),
            "failed": _number(batch["failed_count"]),
        }
        return Ledger(
            rows=len(self._shipments),
            refused=(),
            total=_number(batch["total_count"]),
            counts={word: n for word, n in counts.items() if n},
        )

    async def listed(self) -> object:
        """Return the newest batches of the team."""
        response = await _send(self._client, "GET", self.list_path + self.newest)
        return response.json()

    async def _read(self) -> Answer:
        return _object((await _ask(self._client, "GET", self._path))["data"])


async def _send(
    client: httpx.AsyncClient, method: str, path: str, **content: object
) -> httpx.Response:
    try:
        response = await client.request(method, path, **content)  # type: ignore[arg-type]  # named
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise BatchyardError(f"The server does not answer {method} {path}: {reason}") from error
    if response.is_error:
        raise BatchyardError(
            f"{method} {path} was answered {response.status_code}: {response.text[:500]}"
        )
    return response


async def _ask(client: httpx.AsyncClient, method: str, path: str, **content: object) -> Answer:
    return _object((await _send(client, method, path, **content)).json())


def _object(value: object) -> Answer:
    return cast("Answer", value)


def _number(value: object) -> int:
    return cast("int", value)


def _counts(value: object) -> Mapping[str, int]:
    return cast("Mapping[str, int]", value)
