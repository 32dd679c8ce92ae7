"""A backup of the private database comes back whole, into an empty folder or over another."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from batchyard.store import backups, embedded
from batchyard.store.cluster import Cluster
from tests.cli.commands import call
from tests.cli.test_services import data_dir as data_dir  # noqa: PLC0414  # a fixture
from tests.conftest import PG_VERSION

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


@contextmanager
def running_cluster(data_dir: Path) -> Iterator[Cluster]:
    server = embedded.start(data_dir, pg_version=PG_VERSION)
    try:
        yield Cluster(folder=data_dir.resolve(), version=PG_VERSION)
    finally:
        server.release()


def write(cluster: Cluster, said: str) -> None:
    with psycopg.connect(cluster.url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (said text)")
        connection.execute("INSERT INTO notes VALUES (%s)", (said,))


def read(cluster: Cluster) -> list[object]:
    with psycopg.connect(cluster.url) as connection:
        return [row[0] for row in connection.execute("SELECT said FROM notes ORDER BY said")]


def test_restore_that_was_killed_between_its_steps_leaves_what_was_there(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = backups._execute

    def execute_until_killed(
        connection: psycopg.Connection[tuple[object, ...]], statement: str, *names: str
    ) -> None:
        if names == (backups.FRESH, backups.LIVE):
            url = backups._url(cluster, backups.MAINTENANCE)
            with psycopg.connect(url, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(%s, 10000)", (connection.info.backend_pid,)
                )
        execute(connection, statement, *names)

    with running_cluster(data_dir) as cluster:
        write(cluster, "kept")
        backups.dump(cluster, file=tmp_path / "backup.dump")
        write(cluster, "later")
        with monkeypatch.context() as patch:
            patch.setattr(backups, "_execute", execute_until_killed)
            with pytest.raises(psycopg.OperationalError):
                backups.restore(cluster, file=tmp_path / "backup.dump")
        assert read(cluster) == ["kept", "later"]

        backups.restore(cluster, file=tmp_path / "backup.dump")
        assert read(cluster) == ["kept"]


def test_database_of_ones_own_is_backed_up_by_its_own_means(database_url: str) -> None:
    refused = call("backup", "x", BATCHYARD_DATABASE_URL=database_url)
    assert refused.returncode != 0
    assert "pg_dump" in refused.stderr
