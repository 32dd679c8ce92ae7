"""A package from outside brings a provider; a batch runs through it in a worker's process."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchyard.models import Kind
from batchyard.store.db import Database
from tests.engine.conftest import Yard, make_team

PACKAGE = Path(__file__).parent / "outside_package"
BATCHYARD = Path(sys.executable).with_name("batchyard")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package where only our own processes look."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--no-compile"]
    subprocess.run([*pip, *offline, "--target", target, PACKAGE], check=True)
    return target


def environment(installed: Path, **settings: str) -> Mapping[str, str]:
    path = os.pathsep.join(filter(None, [str(installed), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path} | settings


def run(*command: str, env: Mapping[str, str]) -> None:
    result = subprocess.run(
        [BATCHYARD, *command], env=env, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@contextmanager
def worker(env: Mapping[str, str]) -> Iterator[None]:
    with subprocess.Popen([BATCHYARD, "worker"], env=env) as process:
        try:
            yield
        finally:
            process.terminate()


@pytest.mark.acceptance
async def test_batch_runs_through_a_provider_from_outside(
    db: Database, database_url: str, installed: Path, tmp_path: Path
) -> None:
    yard = Yard(db, await make_team(db))
    slug = str(await yard.value("SELECT slug FROM teams"))
    sheet = tmp_path / "sheet"
    env = environment(installed, BATCHYARD_DATABASE_URL=database_url)
    add = ["provider", "add", "mill", "--kind", "paper-mill", "--set", f"sheet={sheet}"]
    route = ["route", "set", "--team", slug, "--kind", "shipment", "--provider", "mill"]
    for command in (add, route):
        run(*command, env=env)
    batch_id = await yard.make_batch(items=50, kind=Kind.SHIPMENT)

    with worker(env):
        assert await yard.until_ended(batch_id) == "completed"

    assert await yard.counts(batch_id) == {"booked": 50}
    written = Counter(json.loads(line)["key"] for line in sheet.read_text().splitlines())
    assert len(written) == 50
    assert set(written.values()) == {1}
    codes = await yard.value("SELECT result #>> '{parcels,0,tracking_code}' FROM item_data LIMIT 1")
    assert str(codes).startswith("PAPER-")


def test_package_from_outside_passes_the_conformance_kit(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "test_mill.py").write_text(
        "from paper_mill import PaperMill\n"
        "from batchyard.testing import ProviderConformance\n\n\n"
        "class TestPaperMill(ProviderConformance):\n"
        "    provider_class = PaperMill\n\n"
        "    def settings(self, url):\n"
        f"        return {{'sheet': {str(tmp_path / 'sheet')!r}}}\n"
    )
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mill.py"],
        cwd=tmp_path,
        env=environment(installed),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    assert "7 passed" in result.stdout
