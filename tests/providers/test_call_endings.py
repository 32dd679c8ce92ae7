"""An end is held back for its price, and never for longer than was said; the clock is given."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from batchyard.models import Accepted, Ended, JsonObject, Request
from batchyard.providers.call_endings import MARK, finish, keep, known_of, resume
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
