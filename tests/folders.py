"""Folders for databases of tests: in memory where the machine has such a file system."""

import shutil
import tempfile
from pathlib import Path

IN_MEMORY = Path("/dev/shm")  # noqa: S108  # Linux has it for this
ON_DISK = Path("/var/tmp")  # noqa: S108  # long names would not do for sockets
ROOM_BYTES = 4 * 1024**3


def make_folder() -> Path:
    """Make a folder that the server's user can pass through; `tmp_path` lets only its owner."""
    folder = Path(tempfile.mkdtemp(prefix="batchyard-tests-", dir=_root()))
    folder.chmod(0o755)
    return folder


def _root() -> Path:
    """Choose memory where it is ample: copying a database there takes a tenth of the time."""
    has_room = IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ROOM_BYTES
    return IN_MEMORY if has_room else ON_DISK
