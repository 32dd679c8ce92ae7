"""Write the parts of docs/ that are made from the code; `--check` only compares.

A page holds a part between `<!-- begin: NAME -->` and `<!-- end: NAME -->`.
"""

import html
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from batchyard.config import Config
from batchyard.intake.columns import NEEDED
from batchyard.intake.flat import leaf_of, list_columns
from batchyard.intake.synonyms import SYNONYMS
from batchyard.intake.verdicts import FILE_REFUSALS, REFUSALS, WARNINGS, Verdict
from batchyard.lifecycle import BATCH_TRANSITIONS, ITEM_TRANSITIONS, STATUSES_BY_PHASE
from batchyard.models import BatchState, Kind, Phase
from batchyard.operations.providers import list_kinds, read_kind

DOCS = Path(__file__).resolve().parent.parent / "docs"
BLOCK = re.compile(r"(<!-- begin: (\S+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)
RICH_MARKUP = re.compile(r"</?span[^>]*>|\[/?(?:bold|green|dim)\]")
HOW = "Run `make docs` and commit the pages."

DEFAULTS_SAID = {
    "data_dir": "the user's data folder; `/var/lib/batchyard` as root",
}
"""Defaults that differ from machine to machine, in words."""


def main() -> int:
    """Write or check every page; return the exit code."""
    stale = stale_pages()
    if "--check" in sys.argv[1:]:
        for page in stale:
            print(f"{page.relative_to(DOCS.parent)} differs from the code. {HOW}")
        return 1 if stale else 0
    for page, text in stale.items():
        page.write_text(text, encoding="utf-8")
        print(f"{page.relative_to(DOCS.parent)} written")
    return 0


def stale_pages() -> Mapping[Path, str]:
    """Return each page that differs from the code, with the text it should have."""
    stale = {}
    for page in sorted(DOCS.rglob("*.md")):
        old = page.read_text(encoding="utf-8")
        new = BLOCK.sub(lambda match: match[1] + BLOCKS[match[2]]() + match[3], old)
        if new != old:
            stale[page] = new
    return stale


def settings_table() -> str:
    """Return one row for each field of `Config`."""
    rows = "".join(
        f"| `BATCHYARD_{name.upper()}` | {_default(name, field)} | {field.description} |\n"
        for name, field in Config.model_fields.items()
    )
    return f"| setting | default | meaning |\n| --- | --- | --- |\n{rows}"


def _default(name: str, field: FieldInfo) -> str:
    if name in DEFAULTS_SAID:
        return DEFAULTS_SAID[name]
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def batch_drawing() -> str:
    """Return the batch's states as a Mermaid drawing."""
    lines = [f"    [*] --> {BatchState.IMPORTING}", f"    [*] --> {BatchState.OPEN}"]
    lines += [
        f"    {state} --> {after}: {event.replace('_', ' ')}"
        for (state, event), after in BATCH_TRANSITIONS.items()
    ]
    return _mermaid(lines)


def batch_table() -> str:
    """Return one row for each transition of a batch."""
    rows = "".join(
        f"| `{state}` | `{event}` | `{after}` |\n"
        for (state, event), after in BATCH_TRANSITIONS.items()
    )
    return f"| state | event | next |\n| --- | --- | --- |\n{rows}"


def item_drawing() -> str:
    """Return the item's phases as a Mermaid drawing."""
    lines = [f"    [*] --> {Phase.READY}"]
    lines += [
        f"    {phase} --> {after}"
        for phase, following in ITEM_TRANSITIONS.items()
        for after in _in_order(following)
    ]
    return _mermaid(lines)


def item_table() -> str:
    """Return one row for each phase of an item: its status words and where it may go."""
    rows = "".join(
        f"| `{phase}` | {_words(sorted(STATUSES_BY_PHASE[phase]))} | "
        f"{_words(_in_order(following))} |\n"
        for phase, following in ITEM_TRANSITIONS.items()
    )
    return f"| phase | status words | may go to |\n| --- | --- | --- |\n{rows}"


def cli_page() -> str:
    """Return what typer says about the commands."""
    done = subprocess.run(
        [sys.executable, "-m", "typer", "batchyard.cli.main", "utils", "docs", "--name=batchyard"],
        capture_output=True,
        text=True,
        check=True,
    )
    return html.unescape(RICH_MARKUP.sub("", done.stdout)).strip() + "\n"


def synonyms_table() -> str:
    """Return the usual other names of each column."""
    rows = "".join(
        f"| {kind}s | `{meaning}` | {_words(list(names))} |\n"
        for kind, meanings in SYNONYMS.items()
        for meaning, names in meanings.items()
    )
    return f"| list | column | other names |\n| --- | --- | --- |\n{rows}"


def shipment_columns_table() -> str:
    """Return every column of a flat list of shipments."""
    held = {str: "text", int: "whole number", float: "number"}
    rows = "".join(
        f"| `{column}` | {held[leaf]} | {'yes' if column in NEEDED[Kind.SHIPMENT] else ''} |\n"
        for column in list_columns()
        if (leaf := leaf_of(column)) is not None
    )
    return f"| column | holds | needed |\n| --- | --- | --- |\n{rows}"


def verdicts_table(verdicts: Mapping[str, Verdict]) -> str:
    """Return each code with what it says and what helps."""
    rows = "".join(
        f"| `{code}` | {_cell(one.sentence)} | {_cell(one.cure)} |\n"
        for code, one in verdicts.items()
    )
    return f"| code | meaning | cure |\n| --- | --- | --- |\n{rows}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _in_order(phases: frozenset[Phase]) -> list[str]:
    return [phase for phase in Phase if phase in phases]


def _words(words: list[str]) -> str:
    return " ".join(f"`{word}`" for word in words)


def _mermaid(lines: list[str]) -> str:
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```", ""])


def provider_table(kind: str) -> str:
    """Return one row for each setting of a kind of provider, and one for each secret."""
    found = read_kind(kind)
    rows = "".join(
        f"| `{one.name}` | {_cell(one.default)} | {_cell(one.meaning)} |\n".replace("|  |", "| |")
        for one in found.settings
    )
    table = f"| setting | default | meaning |\n| --- | --- | --- |\n{rows}"
    if not found.secrets:
        return table
    secrets = "".join(
        f"| `{one.name}` | {'yes' if one.is_required else 'no'} | {_cell(one.meaning)} |\n"
        for one in found.secrets
    )
    return f"{table}\n| secret | needed | meaning |\n| --- | --- | --- |\n{secrets}"


BLOCKS: Mapping[str, Callable[[], str]] = {
    **{
        f"settings-{kind.name}": partial(provider_table, kind.name)
        for kind in list_kinds()
        if kind.settings
    },
    "batch-drawing": batch_drawing,
    "batch-table": batch_table,
    "cli": cli_page,
    "file-refusals": lambda: verdicts_table(FILE_REFUSALS),
    "item-drawing": item_drawing,
    "item-table": item_table,
    "refusals": lambda: verdicts_table(REFUSALS),
    "settings": settings_table,
    "shipment-columns": shipment_columns_table,
    "synonyms": synonyms_table,
    "warnings": lambda: verdicts_table(WARNINGS),
}

if __name__ == "__main__":
    sys.exit(main())
