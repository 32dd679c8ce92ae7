"""Schemathesis runs all its checks against the running server, from the document it serves."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from batchyard.store.db import Database
from tests.api.smartsend.server import TOKEN, serving

CONFIGURATION = Path(__file__).with_name("schemathesis")
SECONDS = int(os.environ.get("FUZZ_SECONDS") or 12)
"""`make fuzz` takes its time."""
EXAMPLES = 15


def run_schemathesis(address: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it for a while, with a seed, so that what it finds is found again."""
    shutil.copytree(CONFIGURATION, folder)
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{address}/api/v2/openapi.json",
            f"--header=Authorization: Bearer {TOKEN}",
            "--checks=all",
            "--phases=examples,coverage,fuzzing,stateful",
            f"--max-time={SECONDS}",
            f"--max-examples={EXAMPLES}",
            "--continue-on-failure",
            "--seed=7",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS + 60,
        check=False,
    )


@pytest.mark.acceptance
@pytest.mark.timeout(180)
async def test_the_server_does_what_its_document_says(db: Database, tmp_path: Path) -> None:
    async with serving(db, log=tmp_path / "log") as address:
        done = await asyncio.to_thread(run_schemathesis, address, tmp_path / "run")

    assert done.returncode == 0, done.stdout[-20_000:]
    tested = re.search(r"Selected: (\d+)/(\d+)\s+Tested: (\d+)", done.stdout)
    assert tested is not None, done.stdout[-20_000:]
    assert len(set(tested.groups())) == 1
