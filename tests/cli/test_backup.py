"""A backup of the private database comes back whole, into an empty folder or over another."""

from pathlib import Path

import pytest

from tests.cli.commands import call
from tests.cli.test_services import data_dir as data_dir  # noqa: PLC0414  # a fixture

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]


def test_backup_is_restored_into_an_empty_folder_and_over_another(
    data_dir: Path, tmp_path: Path
) -> None:
    folder = ("--data-dir", str(data_dir))
    other = ("--data-dir", str(data_dir.with_name("other")))
    file = tmp_path / "backup.dump"
    assert call("team", "create", "Kept", *folder).returncode == 0

    made = call("backup", str(file), *folder)

    assert made.returncode == 0, made.stderr
    assert file.stat().st_mode & 0o077 == 0
    assert not (tmp_path / "backup.dump.part").exists()
    assert call("team", "create", "Later", *folder).returncode == 0

    done = call("restore", str(file), *other)
    assert done.returncode == 0, done.stderr
    assert "batchyard restored" in done.stderr
    assert call("token", "create", "--team", "kept", *other).returncode == 0

    refused = call("restore", str(file), *folder)
    assert refused.returncode == 2
    assert "--replace" in refused.stderr
    assert call("token", "create", "--team", "later", *folder).returncode == 0

    replaced = call("restore", str(file), "--replace", *folder)
    assert replaced.returncode == 0, replaced.stderr
    assert call("token", "create", "--team", "kept", *folder).returncode == 0
    assert call("token", "create", "--team", "later", *folder).returncode == 2
    assert call("restored", *folder).returncode == 0


def test_wrong_file_changes_nothing(data_dir: Path, tmp_path: Path) -> None:
    folder = ("--data-dir", str(data_dir))
    assert call("team", "create", "Kept", *folder).returncode == 0
    wrong = tmp_path / "wrong"
    wrong.write_text("no dump")

    assert call("restore", str(wrong), "--replace", *folder).returncode == 2
    assert call("restore", str(tmp_path / "nowhere"), "--replace", *folder).returncode == 2

    assert call("token", "create", "--team", "kept", *folder).returncode == 0


def test_database_of_ones_own_is_backed_up_by_its_own_means(database_url: str) -> None:
    refused = call("backup", "x", BATCHYARD_DATABASE_URL=database_url)
    assert refused.returncode != 0
    assert "pg_dump" in refused.stderr
