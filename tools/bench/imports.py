"""Row: a long CSV by HTTP, every phone number checked, into a batch; and its calls read again."""

import http.client
import json
from collections.abc import Iterator
from uuid import uuid4

import psutil  # type: ignore[import-untyped]  # it carries no types

from batchyard.clock import monotonic
from tools.bench import uploads, yard
from tools.bench.figures import Line, Rates, Scale
from tools.bench.memory import LIMIT, Memory, family
from tools.bench.serving import serving

ROWS = 1_000_000
ROUNDS = 1
"""It takes most of a minute, and an average over a million rows hardly varies."""
WARM_ROWS = 5000
GOAL_SECONDS = 40.0
COLUMNS = "contact_number,first_name,amount"
ROW_BYTES = 32
CALL = b'"conversation_duration"'
"""Once in each call."""


def measure(scale: Scale) -> Iterator[Line]:
    """Upload to a server that is warm."""
    rows, rates, busy = scale.of(ROWS), Rates(), Rates()
    most = 0.0
    with yard.postgres() as url:
        token = yard.make_token(url)
        with serving(url) as (port, pid):
            _upload(port, token, rows=WARM_ROWS)
            for _ in range(ROUNDS):
                yard.empty(url)
                before = _cpu_seconds(pid)
                with Memory(family(server=[pid])) as memory:
                    seconds, batch_id = _upload(port, token, rows=rows)
                rates.add("import", rows / seconds, unit="rows/s")
                busy.add("server", (_cpu_seconds(pid) - before) / rows * 1e6, unit="s per 1M")
                most = max(most, memory.largest)
            with Memory(family(server=[pid])) as memory:
                seconds, calls = _read_calls(port, token, batch_id)
            rates.add("calls", calls / seconds, unit="calls/s")
    allowed = GOAL_SECONDS / ROWS * rows
    took = rows / rates.median("import")
    yield Line(
        title=f"{rows:,} CSV rows by HTTP, full phone checks",
        figures=f"{rates.spread('import', 'rows/s')}, {took:.1f} s, "
        f"server's largest process {most:.0f} MB, "
        f"server's processes busy {busy.median('server'):.0f} s for each 1,000,000",
        goal=f"≤ {GOAL_SECONDS:.0f} s for {ROWS:,}; ≤ {LIMIT:.0f} MB",
        is_met=took <= allowed and most <= LIMIT,
        numbers={**rates.all(), "megabytes": most, "busy": busy.all()},
    )
    yield Line(
        title=f"all {calls:,} calls of that batch read as one array",
        figures=f"{rates.spread('calls', 'calls/s')}, "
        f"server's largest process {memory.largest:.0f} MB",
        goal=f"all of them; ≤ {LIMIT:.0f} MB",
        is_met=calls == rows and memory.largest <= LIMIT,
        numbers={"megabytes": memory.largest},
    )


def _read_calls(port: int, token: str, batch_id: str) -> tuple[float, int]:
    """Return how long it took and how many came; counted as they pass, never held."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=uploads.TIMEOUT_SECONDS)
    began = monotonic()
    connection.request(
        "GET", f"/batches/{batch_id}/executions", headers={"Authorization": f"Bearer {token}"}
    )
    answer, calls, rest = connection.getresponse(), 0, b""
    while piece := answer.read(uploads.PIECE_BYTES):
        calls += (rest + piece).count(CALL)
        rest = piece[-len(CALL) + 1 :]
    connection.close()
    return monotonic() - began, calls


def _upload(port: int, token: str, *, rows: int) -> tuple[float, str]:
    pieces = uploads.parts(
        uploads.short_rows,
        rows=rows,
        row_bytes=ROW_BYTES,
        columns=COLUMNS,
        fields={"agent_id": str(uuid4())},
    )
    began = monotonic()
    answer = uploads.upload(port, token, pieces)
    if answer.status not in {200, 201}:
        raise RuntimeError(f"{answer.status} {answer.body.decode()[:200]}")
    return monotonic() - began, str(json.loads(answer.body)["batch_id"])


def _cpu_seconds(pid: int) -> float:
    """Return how long a process and those it started have computed."""
    process = psutil.Process(pid)
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return float(sum(time.user + time.system for time in times))
