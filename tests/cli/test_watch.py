"""A batch that is followed: how fast it goes and how long it will take; lists that start late."""

import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from rich.console import Console

from batchyard.cli.pace import WINDOW_SECONDS, Pace
from batchyard.cli.watch_screen import Sight, describe_pace, fit
from batchyard.client import Batch, Item, Waiting
from batchyard.lifecycle import ENDED_STATUSES, LIVE_STATUSES
from batchyard.models import BatchState, Kind, Phase
from tests.cli.stored import write
from tests.cli.test_terminal import Terminal
from tests.cli.yard import Yard
from tests.factories import make_agent, make_batch, make_items

GOOD, FAILS = "+4520123403", "+4520123408"
NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def seen(*counts: tuple[float, int]) -> Pace:
    """Return the pace after these looks: at which second, how many had ended."""
    pace = Pace()
    for at, ended in counts:
        pace.note(ended, at=at)
    return pace


def sight(pace: Pace, *, done: int, unknown: int = 0, state: str = "running") -> Sight:
    """Return a batch of a hundred of which so many have ended."""
    batch = Batch(
        id=uuid4(),
        kind="call",
        state=state,
        file_name=None,
        reference=None,
        identifier=None,
        agent_id=None,
        is_single=False,
        priority=5,
        limits=None,
        rows=100,
        refused_rows=0,
        total=100,
        counts={"completed": done, "unknown": unknown, "waiting": 100 - done - unknown},
        phases={"done": done, "unknown": unknown, "ready": 100 - done - unknown},
        wait_reason=None,
        scheduled_at=None,
        created_at=NOW,
        started_at=NOW,
        finished_at=None,
    )
    return Sight(batch=batch, failures=(), pace=pace)


def test_pace_is_of_the_last_half_minute_and_unknown_at_first() -> None:
    assert seen().per_second is None
    assert seen((0, 5)).per_second is None
    assert seen((0, 5), (0.9, 50)).per_second is None
    assert seen((0, 5), (10, 25)).per_second == 2
    late = WINDOW_SECONDS + 10
    assert seen((0, 0), (10, 1000), (late, 1000 + round(WINDOW_SECONDS))).per_second == 1


def test_pace_begins_anew_when_failed_items_are_tried_again() -> None:
    pace = seen((0, 0), (10, 90), (11, 40))

    assert pace.per_second is None
    pace.note(50, at=16)
    assert pace.per_second == 2


def test_time_left_is_what_the_rest_takes_at_this_pace() -> None:
    pace = seen((0, 0), (10, 20))

    assert pace.seconds_left(60) == 30
    assert seen((0, 20), (10, 20)).seconds_left(60) is None


@pytest.mark.parametrize(
    "counts,done,words",
    [
        ([(0, 0), (10, 20)], 20, "20 of 100 ended · 2.0 a second · about 40 s left"),
        ([(0, 0), (1, 25)], 25, "25 of 100 ended · 25 a second · about 3 s left"),
        ([(0, 0), (20, 2)], 2, "2 of 100 ended · 6.0 a minute · about 16 min 20 s left"),
        ([(0, 20), (10, 20)], 20, "20 of 100 ended"),
        ([(0, 20)], 20, "20 of 100 ended"),
    ],
)
def test_pace_and_time_left_are_told(
    counts: list[tuple[float, int]], done: int, words: str
) -> None:
    assert describe_pace(sight(seen(*counts), done=done)) == words


def test_time_left_leaves_out_what_a_person_has_to_decide() -> None:
    told = describe_pace(sight(seen((0, 0), (10, 20)), done=20, unknown=40))

    assert told.endswith("about 20 s left")


def test_paused_batch_has_no_pace() -> None:
    told = describe_pace(sight(seen((0, 0), (10, 20)), done=20, state="paused"))

    assert told == "20 of 100 ended"


def test_screen_tells_pace_and_time_left(server: Yard) -> None:
    async def prepare() -> tuple[str, Sequence[UUID]]:
        batch = await make_batch(server.db, team=server.team, state=BatchState.PAUSED)
        ids = await make_items(
            server.db,
            team=server.team,
            batch_id=batch,
            n=6,
            phase=Phase.LIVE,
            status="processing",
        )
        # Not before it has items: a running batch without any has ended.
        await write(server.db, "UPDATE batches SET state = 'running' WHERE id = %s", batch)
        return str(batch), ids

    batch, ids = server.do(prepare())
    screen = Terminal("watch", batch, settings=server.environment())
    screen.wait_for("0 of 6 ended")
    half = "UPDATE items SET phase = 'done', status = 'booked' WHERE id = ANY(%s)"
    server.do(write(server.db, half, ids[:3]))
    screen.wait_for(" left")
    screen.press("q")

    assert screen.end() == 0, screen.said
    assert re.search(r"3 of 6 ended · [\d.]+ a (second|minute) · about \d+ s left", screen.said)


HINT = "q or Ctrl-C leaves; the batch goes on."
ELEVEN = ("unknown", "waiting", "retrying", *ENDED_STATUSES[Kind.CALL])


def crowded() -> Sight:
    """Return a batch with eleven statuses, a reason to wait, and five long errors."""
    counts = {status: 100 + n for n, status in enumerate(ELEVEN)}
    batch = sight(Pace(), done=0).batch.model_copy(
        update={
            "counts": counts,
            "total": sum(counts.values()),
            "waiting": Waiting(reason="window", sentence="No window is open." * 5, until=NOW),
        }
    )
    failures = [failed_item(batch, n) for n in range(1, 6)]
    return Sight(batch=batch, failures=failures, pace=Pace(), is_lost=True)


def failed_item(batch: Batch, position: int) -> Item:
    return Item(
        id=uuid4(),
        batch_id=batch.id,
        position=position,
        phase="done",
        status="failed",
        attempt=1,
        number=None,
        reference=None,
        provider="sandbox",
        provider_reference=None,
        error_code="carrier_refused",
        error_message="This is no number that anybody could be called at. " * 3,
        due_at=None,
        updated_at=NOW,
        ended_at=NOW,
    )


def screen_of(shown: Sight, *, height: int) -> list[str]:
    console = Console(width=80, height=height, highlight=False)
    with console.capture() as captured:
        console.print(fit(shown, hint=HINT, console=console))
    return captured.get().splitlines()


@pytest.mark.parametrize(
    "height,bars,errors,gaps", [(50, 11, 5, 4), (24, 11, 4, 0), (20, 11, 0, 0), (12, 4, 0, 0)]
)
def test_screen_leaves_out_what_matters_least_until_it_fits(
    height: int, bars: int, errors: int, gaps: int
) -> None:
    shown = crowded()

    lines = screen_of(shown, height=height)

    assert len(lines) <= height
    assert lines[-1].strip() == HINT
    assert "does not answer" in lines[-2]
    counts = [found[1] for line in lines if (found := re.search(r" (\d+) +\d+ % *$", line))]
    assert len(counts) == bars
    assert sum(map(int, counts)) == shown.batch.total
    assert sum(line.startswith("line ") for line in lines) == errors
    assert sum(not line.strip() for line in lines) == gaps


def test_small_terminal_shows_how_to_leave(server: Yard) -> None:
    async def prepare() -> str:
        batch = await make_batch(
            server.db, team=server.team, kind=Kind.CALL, state=BatchState.PAUSED
        )
        statuses = {
            Phase.DONE: ENDED_STATUSES[Kind.CALL],
            Phase.LIVE: LIVE_STATUSES[Kind.CALL],
            Phase.READY: ("waiting",),
        }
        for phase, words in statuses.items():
            for status in words:
                await make_items(
                    server.db, team=server.team, batch_id=batch, n=3, phase=phase, status=status
                )
        return str(batch)

    batch = server.do(prepare())
    settings = server.environment(COLUMNS="80")
    screen = Terminal("watch", batch, settings=settings, size=(24, 80))
    screen.wait_for("leaves; the batch goes on")
    screen.press("q")

    assert screen.end() == 0, screen.said
    assert "Last errors" in screen.said
    assert "Somebody paused" in screen.said


@pytest.mark.parametrize("answers", [0, 1])
def test_watch_of_a_server_that_hangs_says_so_and_is_left_at_once(
    server: Yard, answers: int
) -> None:
    batch = server.do(make_batch(server.db, team=server.team, state=BatchState.PAUSED))
    with hanging_after(answers, server=server) as url:
        screen = Terminal("watch", str(batch), settings=server.environment(BATCHYARD_URL=url))
        if answers:
            # A busy machine may take so long for the first look that it says so before.
            screen.wait_for("shipments · paused")
        screen.wait_for("The server does not answer")
        screen.wait_for("leaves; the batch goes on")
        screen.press("q")

        assert screen.end() == 0, screen.said
    assert ("shipments · paused" in screen.said) == bool(answers)


@contextmanager
def hanging_after(answers: int, *, server: Yard) -> Iterator[str]:
    """Lend the address of what passes on so many requests, and leaves all others waiting."""
    left, released = iter(range(answers)), threading.Event()

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if next(left, None) is None:
                released.wait()
                return
            head = {"Authorization": self.headers["Authorization"]}
            answer = httpx.get(f"{server.url}{self.path}", headers=head, timeout=30)
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as outside:
        threading.Thread(target=outside.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{outside.server_port}"
        finally:
            released.set()
            outside.shutdown()


def make_list(folder: Path, *numbers: str) -> Path:
    file = folder / "people.csv"
    file.write_text("\n".join(["contact_number", *numbers, ""]))
    return file


def test_list_of_calls_starts_at_its_time(server: Yard, tmp_path: Path) -> None:
    server.do(make_agent(server.db, team=server.team, name="Anna"))
    file = make_list(tmp_path, GOOD)
    options = ("--agent", "Anna")

    told = server.run("calls", file, *options, "--at", "2099-01-02T10:00:00+01:00")

    assert told.code == 0, told.err
    assert "1 call to start 2099-01-0" in told.out
    shown = json.loads(server.run("batch", "latest", "--json").out)
    assert shown["state"] == "scheduled"
    assert datetime.fromisoformat(shown["scheduled_at"]) == datetime(2099, 1, 2, 9, tzinfo=UTC)
    server.run("calls", file, *options, "--at", "soon").one_line("'soon'")
    both = server.run("calls", file, *options, "--at", "2099-01-02", "--no-start")
    both.one_line("--no-start", "--at TIME")


@pytest.mark.parametrize(
    "number,end",
    [
        (GOOD, "The batch is completed: 1 completed."),
        (FAILS, "The batch is completed: 1 failed."),
    ],
)
def test_list_of_calls_is_watched_to_its_end(
    server: Yard, tmp_path: Path, *, number: str, end: str
) -> None:
    server.do(make_agent(server.db, team=server.team, name="Anna"))

    told = server.run("calls", make_list(tmp_path, number), "--agent", "Anna", "--watch")

    assert (told.code, end in told.out) == (0, True), (told.out, told.err)
    assert "people.csv: 1 row, 1 accepted." in told.out


def test_watching_is_not_said_as_json(server: Yard, tmp_path: Path) -> None:
    server.do(make_agent(server.db, team=server.team, name="Anna"))
    file = make_list(tmp_path, GOOD)

    both = server.run("calls", file, "--agent", "Anna", "--watch", "--json")

    both.one_line("either --json or --watch")
    assert server.run("batches", "--json").out == ""
