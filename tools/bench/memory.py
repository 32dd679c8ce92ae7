"""How large processes become: all of an installation, looked at from time to time."""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil  # type: ignore[import-untyped]  # it carries no types

MEGABYTE = 1024 * 1024
EVERY_SECONDS = 0.1
LIMIT = 300.0
"""Megabytes that a server or a worker may need, whatever it is given."""

Found = Iterable[tuple[str, psutil.Process]]
"""Processes with what they are."""


class Memory:
    """Watches processes while the block runs."""

    def __init__(self, find: Callable[[], Found]) -> None:
        """`find` is asked at each look, so that processes may come and go."""
        self.most: dict[str, float] = {}
        """Megabytes of each at most, by what it is and its process."""
        self._find = find
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    @property
    def largest(self) -> float:
        """Megabytes of the largest process at its largest."""
        return max(self.most.values(), default=0.0)

    def largest_of(self, word: str) -> float:
        """Megabytes of the largest process that is such a thing."""
        return max((mb for name, mb in self.most.items() if name.startswith(word)), default=0.0)

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            self._look()

    def _look(self) -> None:
        for what, process in self._find():
            with suppress(psutil.Error):
                name = f"{what} {process.pid}"
                used = process.memory_info().rss / MEGABYTE
                self.most[name] = max(self.most.get(name, 0.0), used)


def family(**pids: Sequence[int]) -> Callable[[], Found]:
    """Return what finds these processes, and those that they started."""

    def find() -> Found:
        for what, some in pids.items():
            for pid in some:
                with suppress(psutil.Error):
                    process = psutil.Process(pid)
                    yield what, process
                    yield from ((f"{what}'s", child) for child in process.children(recursive=True))

    return find


def postgres_of(data_dir: Path) -> Found:
    """Find the private PostgreSQL of a folder, with its watcher and all its backends."""
    for process in psutil.process_iter(["pid", "cmdline"]):
        with suppress(psutil.Error):
            words = process.cmdline()
            if str(data_dir) in " ".join(words):
                yield "postgres or its watcher", process
            elif (
                words
                and words[0].startswith("postgres:")
                and any(str(data_dir) in " ".join(one.cmdline()) for one in process.parents())
            ):
                yield words[0][:40].strip(), process
