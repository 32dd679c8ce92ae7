"""Commands are loaded when they are run; the overview tells of them what they tell themselves."""

import subprocess
import sys

import pytest

from batchyard.cli.lazy import Entry
from batchyard.cli.main import COMMANDS


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_overview_says_what_the_command_says_of_itself(entry: Entry) -> None:
    command = entry.load()
    assert command.name == entry.name
    assert " ".join(command.help.partition("\n\n")[0].split()) == entry.summary


def test_overview_loads_no_command() -> None:
    program = (
        "import sys; from batchyard.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'batchyard.app', 'psycopg', 'fastapi', 'pydantic'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines()[-1] == "[]"
