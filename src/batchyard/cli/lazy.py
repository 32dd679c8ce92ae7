"""Commands that are loaded when they are run, so that the others cost no time."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from batchyard.cli.interrupts import leaving_at_once


@dataclass(frozen=True, slots=True)
class Entry:
    """A command, by what the overview shows of it."""

    name: str
    panel: str
    summary: str
    """The first sentence of its help."""
    module: str | None = None
    """Of `batchyard.cli`; the one of its own name unless said."""

    def load(self) -> Any:  # noqa: ANN401  # typer keeps its kind of command to itself
        """Return the command itself: a function of the module, or a group of commands."""
        with leaving_at_once(), _collecting_nothing():
            module = import_module(f"batchyard.cli.{self.module or self.name}")
        target = getattr(module, self.name)
        if not isinstance(target, typer.Typer):
            single = typer.Typer(
                add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False
            )
            single.command(self.name)(target)
            return typer.main.get_command(single)
        group = typer.main.get_group(target)
        group.name = self.name
        return group


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """Look for no garbage meanwhile, nor ever again at what was loaded, for it stays.

    Looking makes loading a sixth longer, and the end of a short command half a second.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class LazyGroup(TyperGroup):
    """A group of commands of which only the one that is run is loaded."""

    entries: ClassVar[Sequence[Entry]]

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401  # whatever typer gives
        super().__init__(**attributes)
        self._is_overview = False
        self._entries = {entry.name: entry for entry in self.entries}
        self.commands = {
            entry.name: TyperCommand(entry.name, help=entry.summary, rich_help_panel=entry.panel)
            for entry in self.entries
        }

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401  # as `Entry.load`
        """Return a command; where only its summary is shown, no more than that."""
        if self._is_overview or cmd_name not in self._entries:
            return super().get_command(ctx, cmd_name)
        return self._entries[cmd_name].load()

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  # as `Entry.load`
        """Show the overview."""
        self._is_overview = True
        super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:  # noqa: ANN401  # as above
        """Complete the name of a command."""
        self._is_overview = True
        return super().shell_complete(ctx, incomplete)
