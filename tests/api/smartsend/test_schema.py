"""Schemathesis runs all its checks against the running server, from the document it serves."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.serving import AT_ONCE, TOKEN, serving

CONFIGURATION = Path(__file__).with_name("schemathesis")
SECONDS = int(os.environ.get("FUZZ_SECONDS") or 12)
"""`make fuzz` takes its time."""
LONGER_SECONDS = 120
"""Where it did not get to every operation, it is run again and takes at least so long."""
STARTING_SECONDS = 300
"""So long it may take besides, to load and to end."""
EXAMPLES = 15


def run_schemathesis(
    address: str, folder: Path, *, seconds: int
) -> subprocess.CompletedProcess[str]:
    """Run it for a while, with a seed, so that what it finds is found again."""
    shutil.copytree(CONFIGURATION, folder)
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{address}/api/v2/openapi.json",
            f"--header=Authorization: Bearer {TOKEN}",
            # All checks are on, but what the configuration says: `--checks` would overrule it.
            "--phases=examples,coverage,fuzzing,stateful",
            f"--max-time={seconds}",
            f"--max-examples={EXAMPLES}",
            "--continue-on-failure",
            "--request-timeout=60",
            "--seed=7",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=seconds + STARTING_SECONDS,
        check=False,
    )


@pytest.mark.acceptance
@pytest.mark.timeout(3 * STARTING_SECONDS + SECONDS)
async def test_the_server_does_what_its_document_says(database_url: str, tmp_path: Path) -> None:
    with serving("up", database_url=database_url, log=tmp_path / "log", **AT_ONCE) as address:
        counts = await count_operations(address, tmp_path / "run", seconds=SECONDS)
        if len(set(counts)) > 1:
            counts = await count_operations(
                address, tmp_path / "longer", seconds=max(SECONDS, LONGER_SECONDS)
            )

    assert len(set(counts)) == 1, counts


async def count_operations(address: str, folder: Path, *, seconds: int) -> tuple[str, ...]:
    """Run it and find nothing; return how many operations it chose, of how many, and tried."""
    done = await asyncio.to_thread(run_schemathesis, address, folder, seconds=seconds)
    assert done.returncode == 0, done.stdout[-20_000:]
    tested = re.search(r"Selected: (\d+)/(\d+)\s+Tested: (\d+)", done.stdout)
    assert tested is not None, done.stdout[-20_000:]
    return tested.groups()
