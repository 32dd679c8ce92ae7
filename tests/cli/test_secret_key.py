import json
import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from batchyard.cli.secret_key import FILE_NAME, keep_secret_key
from batchyard.errors import ConfigError
from tests.cli.commands import call
from tests.cli.stored import closed_url
from tests.cli.test_provider import SECRET
from tests.cli.test_services import ours
from tests.folders import make_folder
from tests.waiting import wait_until


@pytest.fixture
def data_dir() -> Iterator[Path]:
    folder = make_folder()
    yield folder / "data"
    for process in ours(folder):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: not ours(folder))
    shutil.rmtree(folder)


def test_key_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    key = keep_secret_key(tmp_path)

    assert keep_secret_key(tmp_path) == key
    assert len(key.get_secret_value()) >= 32
    assert key.get_secret_value() not in repr(key)
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [FILE_NAME]  # noqa: PTH208  # hidden files too


def test_key_is_the_same_for_all_that_start_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(lambda _: keep_secret_key(tmp_path), range(64)))

    assert len(keys) == 1


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff\xfe" * 20])
def test_key_that_is_broken_is_refused_not_replaced(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)

    with pytest.raises(ConfigError, match=FILE_NAME):
        keep_secret_key(tmp_path)

    assert (tmp_path / FILE_NAME).read_bytes() == content


@pytest.mark.acceptance
def test_private_database_gets_a_key_that_every_process_uses(data_dir: Path) -> None:
    secret = data_dir.parent / "secret"
    secret.write_text(SECRET)
    options = ("--kind", "http", "--url", closed_url(), "--secret-file", str(secret))

    added = call("provider", "add", "carrier", *options, "--data-dir", str(data_dir))
    listed = call("provider", "list", "--data-dir", str(data_dir))

    assert added.returncode == 0, added.stderr
    assert "may not be reached" not in added.stderr
    carrier = listed.stdout.splitlines()[-1].split()
    assert (carrier[0], carrier[4:]) == ("carrier", ["allowed", "yes"])
    assert listed.stderr == ""
    key = (data_dir / FILE_NAME).read_text().strip()
    assert key not in added.stderr + added.stdout + listed.stdout
    assert key not in (data_dir / "postgresql.log").read_text()

    other = call(
        *("provider", "add", "other", *options[:4], "--no-allow-private"),
        *("--data-dir", str(data_dir)),
    )
    assert "may not be reached" in other.stderr
    listed = call("provider", "list", "--json", "--data-dir", str(data_dir))
    private = {one["name"]: one["allow_private"] for one in json.loads(listed.stdout)}
    assert (private["carrier"], private["other"]) == (True, False)
