"""Where and with what a run was made."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it carries no types
import psycopg

from batchyard.clock import machine_now
from tools.bench import yard
from tools.bench.figures import Scale

LIBRARIES = (
    "psycopg",
    "procrastinate",
    "pgqueuer",
    "asyncpg",
    "uvicorn",
    "starlette",
    "fastapi",
    "uvloop",
    "orjson",
    "phonenumbers",
)
GIGABYTE = 1024**3
TELLING_SETTINGS = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "shared_buffers",
    "max_wal_size",
)


def describe(scale: Scale) -> Mapping[str, str]:
    """Return the conditions of a run, in words."""
    with yard.postgres() as url, psycopg.connect(url) as connection:
        server = connection.info.parameter_status("server_version") or "unknown"
        settings = {name: _setting(connection, name) for name in TELLING_SETTINGS}
    memory = psutil.virtual_memory().total / GIGABYTE
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, "
        f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "PostgreSQL": f"{server}, the private one: "
        + ", ".join(f"{name} {value}" for name, value in settings.items()),
        "libraries": ", ".join(_versions()),
        "load before": ", ".join(f"{load:.2f}" for load in os.getloadavg()),
        "when": machine_now().strftime("%Y-%m-%d %H:%M UTC"),
        "conditions": _conditions(scale),
    }


def _conditions(scale: Scale) -> str:
    rounds = f"medians of {scale.rounds} rounds, taken in turns where rows are compared"
    if scale.is_full:
        return f"everything on this machine, one run; {rounds}"
    return f"a quick run, {scale.share:.0%} of the size: it shows that rows work, not how fast"


def _setting(connection: psycopg.Connection[tuple[object, ...]], name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return str(row[0]) if row else "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _versions() -> list[str]:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found
