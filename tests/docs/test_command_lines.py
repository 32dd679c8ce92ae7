"""Every command line that README.md and docs/ show names a command and options that exist."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from batchyard.cli.kind_options import option_of
from batchyard.cli.main import COMMANDS
from batchyard.operations.providers import list_kinds
from tests.docs.pages import ROOT

GENERATED = ROOT / "docs/cli.md"
PAGES = [
    path for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))) if path != GENERATED
]

FENCE = re.compile(r"^```.*?\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
COMMAND = re.compile(r"(?:^|(?<=[\s(`]))batchyard( [^\n|&;#>)]*)")
OPTION = re.compile(r"--?[a-z][a-z-]*")
OF_ALL = {"--help", "-h", "--version", "--install-completion", "--show-completion"}


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words behind `batchyard` of each command in code, in a block or in a line."""
    yield from block_lines(text)
    for span in SPAN.findall(FENCE.sub("", text)):
        yield from (found.split() for found in COMMAND.findall(" ".join(span.split())))


def block_lines(text: str) -> Iterator[list[str]]:
    """Yield those in blocks, which people copy."""
    for block in FENCE.findall(text):
        joined = block.replace("\\\n", " ")
        yield from (found.split() for found in COMMAND.findall(joined))


def fault_of(words: Sequence[str], *, is_whole: bool = False) -> str | None:
    """Say what a command line names that does not exist; None where all does.

    Of one that `is_whole` also what it lacks.
    """
    if words[0] in OF_ALL:
        return None
    command: Any = next((one.load() for one in COMMANDS if one.name == words[0]), None)
    if command is None:
        return f"no command {words[0]}"
    rest = words[1:]
    if hasattr(command, "commands"):
        if not rest:
            return None
        command, rest = command.commands.get(rest[0].partition("|")[0]), rest[1:]
        if command is None:
            return f"no command {' '.join(words[:2])}"
    if is_whole and (missing := missing_of(command.params, rest)):
        return f"{command.name} needs {missing}"
    known = OF_ALL | {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    if words[:2] == ["provider", "add"]:
        known |= {option_of(one.name) for kind in list_kinds() for one in kind.settings}
    given = [word.partition("=")[0] for word in rest if OPTION.fullmatch(word.partition("=")[0])]
    unknown = [option for option in given if option not in known]
    return f"no option {unknown[0]} of {command.name}" if unknown else None


def missing_of(params: Sequence[Any], rest: Sequence[str]) -> str | None:
    """Say which option a command needs and is not given."""
    given = {word.partition("=")[0] for word in rest}
    needed = (one for one in params if one.required and one.param_type_name == "option")
    return next((one.opts[0] for one in needed if given.isdisjoint(one.opts)), None)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_command_lines_name_what_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    faults = [(line, fault) for line in command_lines(text) if (fault := fault_of(line))]
    faults += [
        (line, fault) for line in block_lines(text) if (fault := fault_of(line, is_whole=True))
    ]
    assert faults == []


def test_command_lines_are_found_in_blocks_and_in_sentences() -> None:
    text = (
        "Say `batchyard user\nadd ANN` or:\n\n```console\n"
        "$ TOKEN=$(batchyard token create --team \\\n    x) # once\n"
        "X=1 batchyard up | batchyard login\n```\n"
    )

    assert list(command_lines(text)) == [
        ["token", "create", "--team", "x"],
        ["up"],
        ["login"],
        ["user", "add", "ANN"],
    ]


@pytest.mark.parametrize(
    "line,fault",
    [
        ("user add ann@example.com --team x", None),
        ("user create", "no command user create"),
        ("fly", "no command fly"),
        ("batches --jsn", "no option --jsn of batches"),
        ("provider add x --kind twilio --account-sid AC1", None),
        ("provider add x --accountsid AC1", "no option --accountsid of add"),
        ("--help", None),
    ],
)
def test_what_does_not_exist_is_found(line: str, fault: str | None) -> None:
    assert fault_of(line.split()) == fault


def test_pages_with_command_lines_are_read() -> None:
    texts = [path.read_text(encoding="utf-8") for path in PAGES]

    assert sum(len(list(command_lines(text))) for text in texts) > 80
