"""What `batchyard watch` shows of a batch: on a screen, or as plain lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from batchyard.cli.choosing import count, name_batch
from batchyard.cli.pace import Pace
from batchyard.cli.tables import plain, show_time
from batchyard.cli.values import show_span
from batchyard.client import Batch, Item
from batchyard.lifecycle import (
    ADMITTING_STATES,
    ENDED_STATUSES,
    FAILURE_STATUSES,
    IN_FLIGHT_PHASES,
    LIVE_ORDER,
    LIVE_STATUSES,
    SENDING_STATUS,
    SUCCESS_STATUS,
    UNKNOWN_STATUS,
    WAITING_STATUSES,
)
from batchyard.models import Kind, Phase

ENDED_STATES = frozenset({"completed", "failed", "stopped", "cancelled"})
SHOWN_FAILURES = 5
BAR_WIDTH = 40
LOST = "The server does not answer; asking again."


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """A batch as it was seen last."""

    batch: Batch
    failures: Sequence[Item]
    pace: Pace
    is_lost: bool = False
    """The server does not answer at the moment."""

    @property
    def ended(self) -> int:
        """Items that have ended."""
        return self.batch.phases.get(Phase.DONE, 0)

    @property
    def has_ended(self) -> bool:
        """Nothing more will come of the batch by itself."""
        flying = sum(self.batch.phases.get(phase, 0) for phase in IN_FLIGHT_PHASES)
        return self.batch.state in ENDED_STATES and flying == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How much of a batch a screen shows."""

    bars: int
    """Statuses with a bar of their own; the rarest of more share one."""
    failures: int
    is_roomy: bool
    """There are empty lines, and an error may take several."""


def draw(sight: Sight) -> RenderableType:
    """Draw all there is, for who does not stay."""
    return render(sight, hint=None, layout=next(_layouts(sight)))


def fit(sight: Sight, *, hint: str, console: Console) -> RenderableType:
    """Draw the screen so that a terminal shows all of it, where it can be made so small."""
    for layout in _layouts(sight):
        drawn = render(sight, hint=hint, layout=layout)
        if len(console.render_lines(drawn, pad=False)) <= console.height:
            break
    return drawn


def _layouts(sight: Sight) -> Iterator[Layout]:
    """Yield the layouts from the largest to the smallest; what matters least goes first."""
    bars, failures = len(sight.batch.counts), len(sight.failures[:SHOWN_FAILURES])
    yield Layout(bars=bars, failures=failures, is_roomy=True)
    for n in range(failures, -1, -1):
        yield Layout(bars=bars, failures=n, is_roomy=False)
    for n in range(bars - 2, -1, -1):
        yield Layout(bars=n, failures=0, is_roomy=False)


def render(sight: Sight, *, hint: str | None, layout: Layout) -> RenderableType:
    """Draw the screen; the hint says how to leave it."""
    gap = [Text()] if layout.is_roomy else []
    bars = _bars(sight.batch, at_most=layout.bars)
    parts: list[RenderableType] = [_title(sight.batch), *gap, bars, *gap]
    parts.append(Text(describe_pace(sight)))
    if why := describe_wait(sight.batch):
        parts.append(Text(why, style="yellow"))
    if unknown := sight.batch.counts.get(UNKNOWN_STATUS, 0):
        parts.append(Text(_about_unknown(sight.batch, unknown), style="magenta"))
    if layout.failures:
        parts += [*gap, Text("Last errors", style="bold"), _failures(sight.failures, layout)]
    parts += gap
    if sight.is_lost:
        parts.append(Text(LOST, style="red"))
    if hint is not None and not sight.has_ended:
        parts.append(Text(hint, style="dim"))
    return Group(*parts)


def _title(batch: Batch) -> Text:
    style = {"completed": "green", "failed": "red", "stopped": "red", "paused": "yellow"}
    return Text.assemble(
        (plain(name_batch(batch)), "bold"),
        f" · {batch.kind}s · ",
        (batch.state, style.get(batch.state, "cyan")),
        (f"   {batch.id}", "dim"),
        no_wrap=True,
        overflow="ellipsis",
    )


def _bars(batch: Batch, *, at_most: int) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(width=BAR_WIDTH)
    for style in ("", "dim"):
        table.add_column(justify="right", no_wrap=True, style=style)
    total = batch.total or 1
    shown = sorted(batch.counts, key=lambda word: -batch.counts[word])[:at_most]
    rows = [(word, batch.counts[word], _colour(word)) for word in order(batch) if word in shown]
    if rest := batch.counts.keys() - set(shown):
        n = sum(batch.counts[word] for word in rest)
        rows.append((count(len(rest), "other"), n, "bright_black"))
    for word, n, colour in rows:
        bar = Bar(total, 0, n, width=BAR_WIDTH, color=colour)
        table.add_row(word, bar, f"{n:,}", _share(n, total))
    return table


def _share(n: int, total: int) -> str:
    """Write a share; all and nothing are said of nothing else."""
    percent = round(100 * n / total)
    if 0 < n < total and percent in {0, 100}:
        return "<1 %" if percent == 0 else ">99 %"
    return f"{percent} %"


def order(batch: Batch) -> list[str]:
    """Return the statuses that occur, from the end of an item's way to its beginning."""
    kind = Kind(batch.kind)
    ended = sorted(ENDED_STATUSES[kind], key=lambda word: word != SUCCESS_STATUS[kind])
    known = [*ended, UNKNOWN_STATUS, *reversed(LIVE_STATUSES[kind]), SENDING_STATUS]
    known += reversed(WAITING_STATUSES)
    return sorted(batch.counts, key=lambda word: known.index(word) if word in known else -1)


def _colour(status: str) -> str:
    if status in SUCCESS_STATUS.values():
        return "green"
    if status in FAILURE_STATUSES:
        return "red"
    if status == UNKNOWN_STATUS:
        return "magenta"
    if status in LIVE_ORDER or status == SENDING_STATUS:
        return "cyan"
    return "bright_black" if status in WAITING_STATUSES else "yellow"


def _failures(items: Sequence[Item], layout: Layout) -> Table:
    table = Table.grid(padding=(0, 2))
    for item in items[: layout.failures]:
        why = ": ".join(text for text in (item.error_code, item.error_message) if text)
        told = Text(plain(why or "no reason given"))
        if not layout.is_roomy:
            told.no_wrap, told.overflow = True, "ellipsis"
        table.add_row(f"line {item.position}", item.status, told)
    return table


def describe_pace(sight: Sight) -> str:
    """Say how many items have ended, how fast that goes, how long it will take."""
    batch, pace = sight.batch, sight.pace
    words = f"{sight.ended:,} of {batch.total:,} ended"
    if sight.has_ended:
        if batch.started_at is None or batch.finished_at is None:
            return words
        return f"{words} in {show_span((batch.finished_at - batch.started_at).total_seconds())}"
    if not pace.per_second or batch.state not in ADMITTING_STATES:
        return words
    words += f" · {_rate(pace.per_second)}"
    left = pace.seconds_left(batch.total - sight.ended - batch.counts.get(UNKNOWN_STATUS, 0))
    return words if left is None else f"{words} · about {show_span(left)} left"


def describe_wait(batch: Batch) -> str | None:
    """Say why a batch waits, and until when."""
    if batch.waiting is None:
        return None
    until = "" if batch.waiting.until is None else f" Until {show_time(batch.waiting.until)}."
    met = "" if batch.waiting.error is None else f" Last time: {plain(batch.waiting.error)}"
    return f"Waits: {batch.waiting.sentence}{until}{met}"


def describe_end(sight: Sight) -> list[str]:
    """Say how a batch ended, and what can be done now."""
    batch = sight.batch
    counts = ", ".join(f"{batch.counts[status]:,} {status}" for status in order(batch))
    lines = [f"The batch is {batch.state}: {counts or 'no items'}."]
    if unknown := batch.counts.get(UNKNOWN_STATUS, 0):
        lines.append(_about_unknown(batch, unknown))
    if any(batch.counts.get(status) for status in FAILURE_STATUSES):
        lines.append(f"Try what failed again: batchyard retry {batch.id}")
    lines.append(f"Results: batchyard results {batch.id} --output results.csv")
    return lines


def describe_line(sight: Sight) -> str:
    """Say in one line how a batch stands, for a log."""
    if sight.is_lost:
        return LOST
    batch = sight.batch
    counts = ", ".join(f"{status} {batch.counts[status]:,}" for status in order(batch))
    parts = [batch.state, describe_pace(sight), counts, describe_wait(batch)]
    return " | ".join(part for part in parts if part)


def _about_unknown(batch: Batch, n: int) -> str:
    return (
        f"{count(n, 'unknown outcome')}: a person has to decide. "
        f"See: batchyard unknown --batch {batch.id}"
    )


def _rate(per_second: float) -> str:
    if per_second >= 10:
        return f"{per_second:,.0f} a second"
    if per_second >= 1:
        return f"{per_second:.1f} a second"
    return f"{60 * per_second:.1f} a minute"
