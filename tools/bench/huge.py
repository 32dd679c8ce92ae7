"""`make bench-huge`: upload a list of gigabytes by HTTP and measure the memory of every process.

    python -m tools.bench.huge --rows 1000000 --row-bytes 5000

With --rehearse the list is rehearsed instead of uploaded, which has to need as little memory.
Ends with 1 when a process needed more than the limit, or the upload was refused.
"""

import argparse
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from batchyard.clock import monotonic
from tools.bench import uploads
from tools.bench.memory import LIMIT, Found, Memory, family, postgres_of
from tools.bench.serving import serving_private
from tools.bench.yard import PG_VERSION, wait_for_end


def main() -> int:
    """Run the upload once and tell what it needed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--row-bytes", type=int, default=5000)
    parser.add_argument("--rehearse", action="store_true")
    asked = parser.parse_args()
    pieces = uploads.parts(
        uploads.long_rows(asked.row_bytes),
        rows=asked.rows,
        row_bytes=asked.row_bytes,
        columns="contact_number,name,note",
        fields={"kind": "call"} if asked.rehearse else {"agent_id": str(uuid4())},
    )
    path = "/api/v1/rehearsals" if asked.rehearse else "/batches"
    token, load = secrets.token_urlsafe(32), os.getloadavg()
    with _folder() as data_dir, serving_private(data_dir, token) as (port, pid):

        def find() -> Found:
            yield from family(server=[pid])()
            yield from postgres_of(data_dir)

        with Memory(find) as memory:
            began = monotonic()
            answer = uploads.upload(port, token, pieces, path=path)
            seconds = monotonic() - began
    print(f"{answer.status} {answer.body.decode()[:200]}")
    print(
        f"{answer.sent_bytes / 1e6:.0f} MB, {asked.rows} rows in {seconds:.0f} s: "
        f"{asked.rows / seconds:.0f} rows/s, {answer.sent_bytes / seconds / 1e6:.1f} MB/s"
    )
    print(f"load of the machine before: {load[0]:.1f}, {os.cpu_count()} CPUs")
    for name, used in sorted(memory.most.items(), key=lambda one: -one[1]):
        print(f"{used:7.0f} MB  {name}")
    is_good = answer.status in {200, 201} and memory.largest <= LIMIT
    print("within" if is_good else "NOT within", f"{LIMIT:.0f} MB in every process")
    return 0 if is_good else 1


@contextmanager
def _folder() -> Iterator[Path]:
    """Lend a folder for a private PostgreSQL, gone once that has ended by itself."""
    folder = Path(tempfile.mkdtemp(prefix="batchyard-huge-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        yield folder / "data"
    finally:
        wait_for_end(folder / "data", version=PG_VERSION)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
