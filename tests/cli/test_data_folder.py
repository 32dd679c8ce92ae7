"""The folder of the private PostgreSQL: where it is, and when it is of no use."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from batchyard.store.programs import WHEEL
from tests.cli.commands import BATCHYARD, call, environment
from tests.cli.test_commands import assert_one_line
from tests.cli.test_services import ours
from tests.folders import make_folder
from tests.waiting import wait_until

VERSION = int(os.environ.get("BATCHYARD_TEST_PG") or 18)
OTHER = 16 if VERSION == 18 else 18


@pytest.fixture
def data_dir() -> Iterator[Path]:
    folder = make_folder()
    yield folder / "data"
    for process in ours(folder):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: not ours(folder))
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "major,words",
    [
        (OTHER, (f"belongs to PostgreSQL {OTHER}", f"Set BATCHYARD_PG_VERSION={OTHER}")),
        (15, ("belongs to PostgreSQL 15", f"this run uses {VERSION}")),
    ],
)
@pytest.mark.parametrize("command", ["up", "worker", "migrate"])
def test_folder_of_another_major_ends_in_one_line(
    command: str, major: int, words: tuple[str, ...], data_dir: Path
) -> None:
    (data_dir / "postgresql").mkdir(parents=True)
    (data_dir / "postgresql" / "PG_VERSION").write_text(f"{major}\n")
    port = ("--port", "0") if command == "up" else ()

    result = call(command, *port, "--data-dir", str(data_dir))

    assert_one_line(result, *words)
    assert not ours(data_dir)


def test_platform_without_a_wheel_ends_in_one_line(data_dir: Path, tmp_path: Path) -> None:
    # As if the wheel were not installed, in a process of its own from its very beginning.
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{WHEEL!r}] = None\n")
    paths = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))

    result = subprocess.run(
        [BATCHYARD, "up", "--port", "0", "--data-dir", str(data_dir)],
        env=environment(PYTHONPATH=paths),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert_one_line(result, "no private PostgreSQL for this platform", "BATCHYARD_DATABASE_URL")


@pytest.mark.acceptance
def test_private_database_is_found_whatever_the_environment_says_of_others(
    data_dir: Path,
) -> None:
    elsewhere = {
        "PGPORT": "5433",
        "PGHOSTADDR": "127.0.0.1",
        "PGOPTIONS": "-c search_path=elsewhere",
        "PGCLIENTENCODING": "LATIN1",
    }
    folder = ("--data-dir", str(data_dir))

    assert call("migrate", *folder, **elsewhere).returncode == 0
    made = call("team", "create", "Ærø Œ", *folder, **elsewhere)
    assert made.returncode == 0, made.stderr
    assert "Ærø Œ" in call("team", "list", *folder).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another user")
def test_folder_of_another_user_ends_in_one_line(data_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    inner = data_dir / "postgresql"
    inner.mkdir(parents=True)
    os.chown(data_dir, nobody.pw_uid, nobody.pw_gid)
    inner.chmod(0o700)
    code = (
        "import os\n"
        "from pathlib import Path\n"
        "from batchyard.store.cluster import Cluster\n"
        f"os.setgid({nobody.pw_gid})\n"
        f"os.setuid({nobody.pw_uid})\n"
        f"Cluster(folder=Path({str(data_dir)!r}), version={VERSION})._check_version()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/"
    )
    assert "ConfigError: The data folder" in result.stderr
    assert "made by another user" in result.stderr


@pytest.mark.acceptance
def test_folder_is_named_by_the_environment_and_the_option_wins(
    data_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    below = tmp_path / "file" / "below"

    named = call("migrate", BATCHYARD_DATA_DIR=str(data_dir))
    won = call("migrate", "--data-dir", str(below), BATCHYARD_DATA_DIR=str(data_dir))

    assert named.returncode == 0, named.stderr
    assert (data_dir / "postgresql" / "PG_VERSION").read_text() == f"{VERSION}\n"
    assert_one_line(won, str(below), "cannot be written")
