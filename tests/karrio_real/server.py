"""A real Karrio server: installed from the package index, set up once, started."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import httpx

from tests.waiting import wait_until

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
START_SECONDS = 90.0

# Karrio's own shell makes the key; its API has no call for that.
MAKE_KEY = """
from django.contrib.auth import get_user_model
from karrio.server.user.models import Token
user = get_user_model().objects.create_superuser("admin@example.com", "a password of tests")
print("KEY", Token.objects.create(user=user, test_mode=True).key)
"""


@dataclass(frozen=True, kw_only=True)
class Karrio:
    """A running server with one connection."""

    url: str
    key: str

    def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Call its API as an operator does."""
        answer = httpx.request(
            method,
            f"{self.url}{path}",
            json=body,
            headers={"Authorization": f"Token {self.key}"},
            timeout=30,
            trust_env=False,
        )
        return answer.raise_for_status()

    def shipments(self) -> list[dict[str, object]]:
        """List every shipment it has."""
        found: list[dict[str, object]] = self.call("GET", "/v1/shipments?limit=500").json()[
            "results"
        ]
        return found


def install(folder: Path) -> Path:
    """Make a venv with a Karrio server, unless it is there; return its programs."""
    programs = folder / "venv" / "bin"
    mark = folder / "installed"
    if mark.exists() and mark.read_text() == REQUIREMENTS.read_text():
        return programs
    print("Installing Karrio from the package index; about a minute.", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    subprocess.run(
        [str(programs / "python"), "-m", "pip", "install", "-qq", "-r", str(REQUIREMENTS)],
        check=True,
    )
    mark.write_text(REQUIREMENTS.read_text())
    return programs


@contextmanager
def serving(folder: Path, scratch: Path, *, port: int) -> Iterator[Karrio]:
    """Run a server with an empty database and a connection `post-nord` that makes its own labels.

    The empty database is kept in `folder`: making it takes two minutes.
    """
    programs = install(folder)
    template = folder / "template"
    if not (template / "ready").exists():
        print("Making its database; about two minutes.", flush=True)
        template.mkdir(exist_ok=True)
        _run(programs, template, "migrate")
        _run(programs, template, "shell", text=MAKE_KEY, into=template / "key")
        (template / "ready").touch()
    work = scratch / "karrio"
    copytree(template, work)
    key = (work / "key").read_text().partition("KEY ")[2].split()[0]
    command = [
        str(programs / "gunicorn"),
        "karrio.server.asgi",
        *("-k", "karrio.server.workers.UvicornWorker", "-w", "1", "-b", f"127.0.0.1:{port}"),
    ]
    with (
        (scratch / "karrio.log").open("wb") as log,
        subprocess.Popen(
            command, env=_environment(work), cwd=work, stdout=log, stderr=log
        ) as process,
    ):
        try:
            karrio = Karrio(url=f"http://127.0.0.1:{port}", key=key)
            wait_until(lambda: _answers(karrio.url), timeout_seconds=START_SECONDS)
            karrio.call(
                "POST",
                "/v1/connections",
                {
                    "carrier_name": "generic",
                    "carrier_id": "post-nord",
                    "capabilities": ["rating", "shipping"],
                    "credentials": {
                        "display_name": "Post Nord",
                        "custom_carrier_name": "postnord",
                        "account_country_code": "DK",
                    },
                },
            )
            yield karrio
        finally:
            process.terminate()
            process.wait(20)


def _run(
    programs: Path, work: Path, *arguments: str, text: str | None = None, into: Path | None = None
) -> None:
    done = subprocess.run(
        [str(programs / "karrio"), *arguments],
        env=_environment(work),
        cwd=work,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"karrio {arguments[0]}: {done.stderr[-2000:]}")
    if into is not None:
        into.write_text(done.stdout)


def _environment(work: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(work),
        "SECRET_KEY": "only for tests, only on this machine, and gone with them",
        "DATABASE_ENGINE": "sqlite3",
        "DATABASE_NAME": str(work / "db.sqlite3"),
        "WORK_DIR": str(work),
        "LOG_DIR": str(work),
        "DEBUG_MODE": "False",
        "ENABLE_ALL_PLUGINS_BY_DEFAULT": "True",
        "CARRIER_REQUEST_RATE_LIMIT": "6000/minute",
        "USER_RATE_LIMIT": "6000/minute",
    }


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False
