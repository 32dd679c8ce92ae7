"""What several write about one item at a time: none undoes what another learned."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from batchyard.engine.inquiry import request_of
from batchyard.engine.merging import join_result, merge
from batchyard.models import Accepted, Ended, Finding, JsonObject, Lost, Phase, Progress, Request
from batchyard.providers.base import Surroundings
from batchyard.providers.call_endings import MARK, keep, known_of
from batchyard.store import inquiries
from batchyard.store.items import Settlement
from tests.engine.asking import SANDBOX, Lines, asking, make_overdue
from tests.engine.conftest import ScriptedProvider, Yard

LATER = timedelta(hours=1)
RESULT = "SELECT result FROM item_data"


@pytest.mark.parametrize(
    "stored,known,told,expected",
    [
        ({"a": 1}, {"a": 1}, {"b": 2}, {"b": 2}),
        ({"a": 1, "c": 3}, {"a": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}),
        ({}, {}, {"a": 1}, {"a": 1}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, {"a": {"x": 3}}, {"a": {"x": 3, "y": 2}}),
        ({"a": {"x": 1, "z": 0}}, {}, {"a": {"y": 2}}, {"a": {"x": 1, "y": 2, "z": 0}}),
    ],
)
@pytest.mark.parametrize("wins", [True, False])
def test_what_one_changed_is_applied_to_what_others_stored(
    stored: JsonObject, known: JsonObject, told: JsonObject, expected: JsonObject, wins: bool
) -> None:
    assert merge(stored, known=known, told=told, wins=wins) == expected


def test_end_keeps_neither_marks_nor_names_of_documents() -> None:
    end = Settlement(
        id=uuid4(), attempt=1, phase=Phase.DONE, status="booked", next_attempt=1, entry={}
    )
    end["result"] = {"parcels": []}
    stored = {"documents": [{"url": "https://example.com/label"}], MARK: {"n": 1}, "note": "x"}
    joined = join_result(end, known={}, stored=stored)
    assert joined["result"] == {"parcels": [], "note": "x"}


def test_where_both_changed_the_same_one_of_them_wins() -> None:
    stored, known, told = {"step": "hangup"}, {"step": "speak"}, {"step": None}
    assert merge(stored, known=known, told=told, wins=False) == {"step": "hangup"}
    assert merge(stored, known=known, told=told, wins=True) == {"step": None}


class SpeakingProvider(ScriptedProvider):
    """While it is asked the first time, news comes."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self.promises(is_askable=True)
        self.meanwhile: Callable[[Request], Awaitable[bool]] | None = None

    async def ask(self, request: Request) -> Finding:
        self.asked.append(request)
        if len(self.asked) == 1 and self.meanwhile is not None:
            assert await self.meanwhile(request)
        return self.answers_when_asked(request)


def carried_out(request: Request) -> JsonObject:
    return keep(request, {}, step=None, done=["speak"])


def learned_nothing(request: Request) -> JsonObject:
    return keep(request, {})


@pytest.mark.parametrize(
    "told,silent_minutes",
    [(carried_out, 0), (learned_nothing, 0), (None, 5), (None, 60)],
    ids=["carried out", "learned nothing", "puts off", "gives up"],
)
async def test_step_that_news_made_due_is_not_undone_by_who_asked_before(
    yard: Yard, told: Callable[[Request], JsonObject] | None, silent_minutes: int
) -> None:
    """The command to speak is out; its webhook is faster than the answer, or that is lost."""
    provider = SpeakingProvider(
        Surroundings(name="phone", clock=yard.db.clock, report=lambda _key, _answer: None)
    )
    batch_id = await make_overdue(yard, status="in-progress")
    marks = {"key": (await read_request(yard)).key, "step": "speak", "step_at": "then"}
    await yard.value("UPDATE item_data SET result = %s RETURNING 1", [Jsonb({MARK: marks})])
    await yard.value(
        "UPDATE items SET updated_at = updated_at - make_interval(mins => %s) RETURNING 1",
        [silent_minutes],
    )

    def answer(request: Request) -> Finding:
        if len(provider.asked) > 1:
            return Ended(status="completed")
        if told is None:
            return Lost(code="timeout", message="?")
        return Accepted(
            status="in-progress", check_at=yard.db.clock() + LATER, result=told(request)
        )

    provider.answers_when_asked = answer
    async with asking(yard, Lines({SANDBOX: provider})) as running:

        async def speak_ended(request: Request) -> bool:
            news = Accepted(
                status="in-progress",
                check_at=yard.db.clock(),
                result=keep(request, {}, step="hangup", step_at="now"),
            )
            return await running.reports.deliver(request.key, news, known=request.known_result)

        provider.meanwhile = speak_ended
        await yard.until_ended(batch_id)
    due = known_of(provider.asked[1]).mark
    assert (due["step"], due["step_at"]) == ("hangup", "now")
    assert due.get("done") == (["speak"] if told is carried_out else None)


async def test_news_that_was_read_from_the_same_state_is_kept_side_by_side(yard: Yard) -> None:
    await make_overdue(yard, status="in-progress")
    request = await read_request(yard)
    async with asking(yard, Lines({})) as running:
        for name, status in (("answered", "call-disconnected"), ("detected", "in-progress")):
            news = Accepted(status=status, result=keep(request, {name: True}, **{name: "then"}))
            assert await running.reports.deliver(request.key, news, known=None)
        assert await yard.value(RESULT) == {
            "answered": True,
            "detected": True,
            MARK: {"key": request.key, "answered": "then", "detected": "then"},
        }
        # The later one is only told later; the call has not come back to life.
        assert await yard.value("SELECT status FROM items") == "call-disconnected"

        ended = Ended(status="completed", result={"duration_seconds": 3})
        assert await running.reports.deliver(request.key, ended, known=None)
    assert await yard.value(RESULT) == {"answered": True, "detected": True, "duration_seconds": 3}


async def test_first_news_of_a_new_attempt_replaces_the_result_of_the_one_before(
    yard: Yard,
) -> None:
    before = {"duration_seconds": 3, MARK: {"key": "another.1", "done": ["speak"]}}
    await make_overdue(yard, status="initiated", result=before)
    request = await read_request(yard)
    async with asking(yard, Lines({})) as running:
        news = Accepted(result=keep(request, {}, answered_at="now"))
        assert await running.reports.deliver(request.key, news, known=before)
    assert await yard.value(RESULT) == {MARK: {"key": request.key, "answered_at": "now"}}


@pytest.mark.parametrize("is_answered_first", [True, False])
async def test_news_of_a_new_attempt_is_whole_whether_its_answer_or_the_news_is_first(
    yard: Yard, *, is_answered_first: bool
) -> None:
    """It was made while the key had no answer; what both attempts came to alike is of both."""
    before = {"answered_by_voice_mail": True, "duration_seconds": 20, "transcript": "Beep."}
    await make_overdue(yard, result=before)
    await yard.value("UPDATE items SET try = 2 RETURNING 1")
    request = await read_request(yard)
    assert request.known_result is None
    ended = Ended(
        status="completed", result={"answered_by_voice_mail": True, "duration_seconds": 31}
    )
    async with asking(yard, Lines({}), only_when_told=True) as running:
        if is_answered_first:
            assert await running.reports.deliver(request.key, Accepted(), known=None)
            assert await yard.value(RESULT) is None
        assert await running.reports.deliver(request.key, ended, known=request.known_result)
    assert await yard.value(RESULT) == ended.result


async def test_what_a_key_has_told_stays_with_news_that_tells_no_more(yard: Yard) -> None:
    """Also where the provider gives no reference."""
    await make_overdue(yard)
    request = await read_request(yard)
    told = keep(request, {"note": 1})
    async with asking(yard, Lines({}), only_when_told=True) as running:
        for news in (Accepted(result=told), Progress(status="ringing"), Accepted(status="ringing")):
            await running.reports.deliver(request.key, news, known=None)
        assert await yard.value("SELECT status FROM items") == "ringing"
    assert await yard.value(RESULT) == told


async def read_request(yard: Yard) -> Request:
    """Return the request that the only item was sent by."""
    async with yard.db.pool.connection() as conn:
        row = await (await conn.execute("SELECT id FROM items")).fetchone()
        assert row is not None
        question = await inquiries.read(conn, item_id=row[0])  # type: ignore[arg-type]
    assert question is not None
    return request_of(question)
