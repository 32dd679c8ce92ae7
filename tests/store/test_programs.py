import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchyard.errors import ConfigError
from batchyard.store import programs
from tests.folders import make_folder

VERSION = int(os.environ.get("BATCHYARD_TEST_PG") or 18)


@pytest.fixture
def spare_folder() -> Iterator[Path]:
    folder = make_folder()
    yield folder
    shutil.rmtree(folder)


def test_programs_of_a_closed_folder_run_for_the_servers_user(
    tmp_path: Path, spare_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = programs.installation(VERSION)
    tmp_path.chmod(0o700)
    closed = tmp_path / programs.WHEEL / wheel.name
    shutil.copytree(wheel, closed)
    libraries = f"{programs.WHEEL}.libs"
    if (wheel.parent.parent / libraries).exists():
        shutil.copytree(wheel.parent.parent / libraries, tmp_path / libraries)
    monkeypatch.setattr(programs, "installation", lambda _: closed)

    for _ in range(2):
        folder = programs.find(VERSION, spare_folder=spare_folder / "programs")

        for program in ("initdb", "postgres"):
            command = [str(folder / program), "--version"]
            user = programs.server_user()
            assert programs.run(command, user=user, folder=spare_folder) is None
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_program_that_fails_says_why(spare_folder: Path) -> None:
    folder = programs.find(VERSION, spare_folder=spare_folder / "programs")

    complaint = programs.run(
        [str(folder / "initdb"), "-D", "/proc/nowhere"],
        user=programs.server_user(),
        folder=spare_folder,
    )

    assert complaint is not None
    assert "/proc/nowhere" in complaint


def test_version_that_the_wheel_does_not_carry_is_refused() -> None:
    with pytest.raises(ConfigError, match="BATCHYARD_DATABASE_URL"):
        programs.installation(15)


def test_last_complaint_prefers_what_was_fatal() -> None:
    log = "LOG:  starting\nFATAL:  no such library\nLOG:  database system is shut down\n"

    assert programs.last_complaint(log) == "FATAL:  no such library"
    assert programs.last_complaint("") == ""
