"""An end is held back for its price, and never for longer than was said; the clock is given."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from batchyard.engine.merging import merge
from batchyard.models import Accepted, Ended, JsonObject, Request
from batchyard.providers.call_endings import (
    MARK,
    ask_for_end,
    finish,
    keep,
    known_of,
    resume,
    take_back_end,
)
from tests.providers.requests import make_call

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
PATIENCE = timedelta(minutes=2)
ENDED = Ended(status="completed", result={"duration_seconds": 7}, reference="CA1")


def end(request: Request, ended: Ended = ENDED, *, after: float = 0) -> Ended | Accepted:
    return finish(
        request,
        ended,
        awaited=("cost_minor",),
        patience=PATIENCE,
        now=NOW + timedelta(seconds=after),
    )


def having(result: JsonObject | None) -> Request:
    return replace(make_call(), known_result=result)


def test_end_waits_for_its_price_and_then_has_both() -> None:
    held = end(make_call())
    assert isinstance(held, Accepted)
    assert (held.status, held.check_at) == ("call-disconnected", NOW + timedelta(seconds=5))
    news = {"cost_minor": 1.3, "currency": "USD"}
    whole = resume(having(held.result), news, awaited=("cost_minor",), patience=PATIENCE, now=NOW)
    assert whole == Ended(status="completed", result={"duration_seconds": 7, **news})


def test_patience_is_counted_from_the_end_not_from_the_last_look() -> None:
    held = end(make_call())
    assert isinstance(held, Accepted)
    again = end(having(held.result), after=100)
    assert isinstance(again, Accepted)
    assert again.check_at == NOW + PATIENCE
    last = end(having(again.result), after=120)
    assert last == ENDED


def test_nothing_awaited_ends_at_once() -> None:
    assert finish(make_call(), ENDED, awaited=(), patience=PATIENCE, now=NOW) == ENDED


def test_what_another_attempt_left_is_not_used() -> None:
    old = keep(make_call(), {"transcript": "old"}, ended_at=NOW.isoformat())
    request = replace(make_call(attempt=2), known_result=old)
    assert known_of(request).result == {}
    held = end(request)
    assert isinstance(held, Accepted)
    assert held.result is not None
    assert "transcript" not in held.result


def test_call_that_a_person_broke_off_is_stopped() -> None:
    noted = keep(make_call(), {}, end_asked_at=NOW.isoformat())
    answer = finish(
        having(noted), replace(ENDED, status="canceled"), awaited=(), patience=PATIENCE, now=NOW
    )
    assert isinstance(answer, Ended)
    assert answer.status == "stopped"
    assert answer.result["hangup_by"] == "operator"
    assert MARK not in answer.result


def test_call_that_was_over_before_it_was_broken_off_keeps_its_word() -> None:
    held = end(make_call())
    assert isinstance(held, Accepted)
    asked = ask_for_end(having(held.result), now=NOW + timedelta(seconds=1))
    assert end(having(asked), after=120) == ENDED


def test_wish_that_is_taken_back_leaves_what_was_told_meanwhile() -> None:
    before = make_call()
    asked = ask_for_end(before, now=NOW)
    held = end(having(asked), after=1)
    assert isinstance(held, Accepted)
    assert held.result is not None
    assert "hangup_by" not in held.result
    back = merge(held.result, known=asked, told=take_back_end(before), wins=True)
    assert known_of(having(back)).is_over
    whole = resume(
        having(back), {"cost_minor": 1}, awaited=("cost_minor",), patience=PATIENCE, now=NOW
    )
    assert whole == Ended(status="completed", result={"duration_seconds": 7, "cost_minor": 1})


def test_first_time_that_a_call_is_to_be_broken_off_counts() -> None:
    first = ask_for_end(make_call(), now=NOW)
    again = ask_for_end(having(first), now=NOW + timedelta(seconds=5))
    assert known_of(having(again)).end_asked_at == NOW
