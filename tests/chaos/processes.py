"""The programs of the yard as processes of their own, which can be killed, frozen, started."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

FOLDER = "BATCHYARD_VENDOR_SPECS"
BATCHYARD = str(Path(sys.executable).with_name("batchyard"))


class Program:
    """One long-running process of ours."""

    def __init__(
        self, name: str, command: Sequence[str], *, settings: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.is_frozen = False
        self.failpoint: str | None = None
        self._command = list(command)
        self.settings = settings
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    @property
    def pid(self) -> int:
        """The process as it is now."""
        return 0 if self._process is None else self._process.pid

    @property
    def age_seconds(self) -> float:
        """How long ago it was started last."""
        return time.monotonic() - self._started_at

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs, negative after a signal."""
        return None if self._process is None else self._process.poll()

    @property
    def is_running(self) -> bool:
        """Whether it runs; a frozen process does."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, failpoint: str | None = None) -> None:
        """Start it, or start it again; with a failpoint it will kill itself."""
        settings = dict(self.settings)
        if failpoint is not None:
            settings |= {"BATCHYARD_FAILPOINT": failpoint, "BATCHYARD_TESTING": "1"}
        foreign = {name: text for name, text in os.environ.items() if "BATCHYARD" not in name}
        self.failpoint, self.is_frozen = failpoint, False
        self._started_at = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env={**foreign, **settings},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> bool:
        """Kill -9; False when it was dead already."""
        if self._process is None or self._process.poll() is not None:
            return False
        self._process.kill()
        self._process.wait()
        return True

    def freeze(self) -> None:
        """SIGSTOP: it lives, holds its connections, and does nothing."""
        self.is_frozen = True
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on, not knowing that time went by."""
        self._signal(signal.SIGCONT)
        self.is_frozen = False

    def events(self) -> list[dict[str, object]]:
        """Return what it logged, over all its lives."""
        found: list[dict[str, object]] = []
        for line in self.log.read_text(errors="replace").splitlines() if self.log.exists() else []:
            # A line is half-written where the process was killed.
            with suppress(json.JSONDecodeError):
                event = json.loads(line)
                if isinstance(event, dict):
                    found.append(event)
        return found

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


def worker(name: str, *, settings: Mapping[str, str], folder: Path) -> Program:
    """Describe a worker."""
    return Program(name, [BATCHYARD, "worker"], settings=settings, folder=folder)


def server(*, port: int, settings: Mapping[str, str], folder: Path) -> Program:
    """Describe the server."""
    command = [BATCHYARD, "serve", "--port", str(port)]
    return Program("serve", command, settings=settings, folder=folder)


def counting_server(
    *, port: int, seed: int, timeout_seconds: float, settle_seconds: float, folder: Path
) -> Program:
    """Describe the outside world; it is never killed, for it is the witness."""
    command = [sys.executable, "-m", "tests.chaos.counting_server", "--port", str(port)]
    command += ["--seed", str(seed), "--timeout", str(timeout_seconds)]
    command += ["--settle", str(settle_seconds)]
    return Program("outside", command, settings=_our_path(), folder=folder)


def fake(name: str, *, port: int, options: Sequence[str], folder: Path) -> Program:
    """Describe a vendor in small; it is never killed either."""
    command = [sys.executable, "-m", f"tests.providers.fakes.{name}", "--port", str(port)]
    specifications = find_specifications()
    settings = {} if specifications is None else {FOLDER: str(specifications)}
    return Program(
        "outside", [*command, *options], settings={**settings, **_our_path()}, folder=folder
    )


def find_specifications() -> Path | None:
    """Return where vendors' specifications are, for programs that run elsewhere too."""
    told = os.environ.get(FOLDER)
    return Path(told).resolve() if told else None


def _our_path() -> Mapping[str, str]:
    """Let a program that runs elsewhere find these tests."""
    root = str(Path(__file__).parents[2])
    return {"PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}


def find_leader(workers: Sequence[Program]) -> Program | None:
    """Return the running worker that was the last to say it leads the housekeeping."""
    latest: tuple[str, Program] | None = None
    for one in workers:
        said = [str(e["timestamp"]) for e in one.events() if e.get("event") == "housekeeping.leads"]
        if said and (latest is None or said[-1] > latest[0]):
            latest = (said[-1], one)
    return latest[1] if latest is not None and latest[1].is_running else None
