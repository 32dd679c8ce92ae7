"""What needs a process of its own: a terminal, a pipe, a login, the completion of a shell."""

import json
import os
import pty
import re
import select
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from batchyard.cli.main import app
from batchyard.models import BatchState, Kind, Phase
from tests.cli.commands import BATCHYARD, call_with_input, environment
from tests.cli.stored import make_ready
from tests.cli.yard import Yard
from tests.factories import make_batch, make_items

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
AT_TERMINAL = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"
"""Makes the terminal the one whose Ctrl-C a program hears."""

SHIPMENT = (
    "reference,currency,delivery.carrier,delivery.service,"
    "parties.receiver.contact.name_lines.0,parties.receiver.address.address_lines.0,"
    "parties.receiver.address.postal_code,parties.receiver.address.city,"
    "parties.receiver.address.country,parcels.0.gross_weight\n"
    "A-1,DKK,postnord,home,Ann,Street 1,2000,Frederiksberg,DK,540\n"
)


class Terminal:
    """A command at a terminal."""

    def __init__(
        self, *arguments: str, settings: Mapping[str, str], size: tuple[int, int] = (0, 0)
    ) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, size)
        self._process = subprocess.Popen(
            [sys.executable, "-SEc", AT_TERMINAL, BATCHYARD, *arguments],
            env=environment(TERM="xterm-256color", **settings),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.said = ""

    def wait_for(self, words: str, *, seconds: float = 30) -> None:
        """Read on until these words were said."""
        deadline = time.monotonic() + seconds
        while words not in self.said:
            assert time.monotonic() < deadline, self.said
            if not self._read():
                raise AssertionError(f"ended without {words!r}: {self.said}")

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while self._read():
            pass
        os.close(self._ours)
        return self._process.wait(30)

    def _read(self) -> bool:
        if not select.select([self._ours], [], [], 30)[0]:
            self._process.kill()
            raise AssertionError(f"hangs: {self.said}")
        try:
            chunk = os.read(self._ours, 65536)
        except OSError:
            return False
        self.said += ESCAPE.sub("", chunk.decode(errors="replace"))
        return bool(chunk)


def test_login_is_kept_for_its_owner_and_sent_to_its_own_server_only(
    server: Yard, tmp_path: Path
) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path), "BATCHYARD_TOKEN": "", "BATCHYARD_URL": ""}
    kept = tmp_path / "batchyard" / "login.json"
    run = partial(server.run, **home)

    run("login", server.url, stdin="by_nobody\n").one_line("does not know the token")
    run("login", "localhost:80", stdin="by_nobody\n").one_line("no address such as https://")
    run("login", server.url).one_line("no token at standard input")
    assert not kept.exists()

    done = run("login", server.url, stdin=f"{server.token}\n")

    assert done.code == 0, done.err
    assert server.team.name in done.out
    assert server.token not in done.out + done.err
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert run("batches", "--json").code == 0
    elsewhere = {**home, "BATCHYARD_URL": "http://127.0.0.1:1"}
    server.run("batches", **elsewhere).one_line("no token for http://127.0.0.1:1")
    server.run("batches", **{**home, "BATCHYARD_TOKEN": "by_x"}).one_line("does not know")
    assert run("logout").code == 0
    assert not kept.exists()
    assert run("logout").code == 1
    run("batches").one_line("batchyard login")

    asked = Terminal(
        "login", settings={"XDG_CONFIG_HOME": str(tmp_path), "BATCHYARD_URL": server.url}
    )
    asked.wait_for(f"Server [{server.url}]:")
    asked.press("\n")
    asked.wait_for("(not shown): ")
    asked.press(f"{server.token}\n")
    assert asked.end() == 0, asked.said
    assert server.token not in asked.said
    assert kept.exists()


def test_list_in_a_pipe_is_watched_in_plain_lines(server: Yard) -> None:
    settings = server.environment()

    done = call_with_input(
        SHIPMENT, "shipments", "-", "--name", "From a pipe", "--watch", **settings
    )

    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "standard input: 1 row, 1 accepted." in done.stdout
    assert "The batch is completed: 1 booked." in done.stdout


def test_watch_draws_a_screen_that_q_and_ctrl_c_leave(server: Yard) -> None:
    async def prepare() -> str:
        batch = await make_batch(
            server.db, team=server.team, reference="Live \x1b[2J one", state=BatchState.PAUSED
        )
        for phase, status in (
            (Phase.DONE, "booked"),
            (Phase.DONE, "failed"),
            (Phase.LIVE, "processing"),
        ):
            await make_items(
                server.db, team=server.team, batch_id=batch, n=2, phase=phase, status=status
            )
        return str(batch)

    batch = server.do(prepare())
    for keys, code in (("q", 0), ("\x03", 130)):
        screen = Terminal("watch", batch, settings=server.environment())
        screen.wait_for("leaves; the batch goes on")
        screen.press(keys)
        assert screen.end() == code, screen.said
        for words in ("shipments · paused", "booked", "33 %", "4 of 6 ended", "Somebody paused"):
            assert words in screen.said
        assert "Last errors" in screen.said
        assert "Traceback" not in screen.said
        assert "Live \N{REPLACEMENT CHARACTER}[2J one" in screen.said
    assert json.loads(server.run("batch", batch, "--json").out)["state"] == "paused"


def test_terminal_is_asked_with_the_number(server: Yard) -> None:
    batch = server.do(
        make_ready(server.db, team=server.team, n=3, kind=Kind.CALL, state=BatchState.OPEN)
    )
    asked = Terminal("cancel", "latest", settings=server.environment())
    asked.wait_for("3 calls will never be sent. Go on? [y/N]:")
    asked.press("n\n")
    assert asked.end() == 1, asked.said
    assert "Nothing was changed." in asked.said
    assert json.loads(server.run("batch", batch, "--json").out)["state"] == "open"


@pytest.mark.parametrize(
    "typed,offered",
    [
        ("batchyard ba", {"batch", "batches", "backup"}),
        ("batchyard webhook re", {"remove", "replay"}),
        ("batchyard results --ou", {"--output"}),
    ],
)
def test_shell_completes_commands_that_are_loaded_late(typed: str, offered: set[str]) -> None:
    told = CliRunner().invoke(
        app,
        env={
            "_BATCHYARD_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split()) - 1),
        },
        prog_name="batchyard",
    )
    assert set(told.stdout.split()) == offered, told.stderr
