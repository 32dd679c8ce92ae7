"""The end of a call whose price or recording is still to come: held back, for a while; pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchyard.models import Accepted, Ended, JsonObject, Request

MARK = "batchyard"
"""What is ours in a result that is not the last one; never part of an ended item."""

DISCONNECTED = "call-disconnected"
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What is known already about the call of this very key."""

    result: JsonObject
    mark: JsonObject

    @property
    def is_over(self) -> bool:
        """Whether the call has ended, and only its details are waited for."""
        return "ended_at" in self.mark

    @property
    def end_asked_at(self) -> datetime | None:
        """When a person first asked to break it off."""
        return _time(self.mark.get("end_asked_at"))


NOTHING = Known(result={}, mark={})


def known_of(request: Request) -> Known:
    """Return what was kept for this key; another attempt's does not count."""
    kept = request.known_result or {}
    mark = kept.get(MARK)
    if not isinstance(mark, Mapping) or mark.get("key") != request.key:
        return NOTHING
    return Known(result={key: value for key, value in kept.items() if key != MARK}, mark=mark)


def keep(request: Request, result: JsonObject, **marks: object) -> JsonObject:
    """Return the result to keep while the call goes on, with marks that come back."""
    known = known_of(request)
    return {**known.result, **result, MARK: {**known.mark, **marks, "key": request.key}}


def ask_for_end(request: Request, *, now: datetime) -> JsonObject:
    """Return the result to keep once a person asks to break a call off; the first time counts."""
    asked_at = known_of(request).end_asked_at or now
    return keep(request, {}, end_asked_at=asked_at.isoformat())


def take_back_end(request: Request) -> JsonObject:
    """Return the result to keep once it was no end: what was told meanwhile stays beside it."""
    asked_at = known_of(request).end_asked_at
    return keep(request, {}, end_asked_at=None if asked_at is None else asked_at.isoformat())


def finish(
    request: Request,
    ended: Ended,
    *,
    awaited: Collection[str],
    patience: timedelta,
    now: datetime,
) -> Ended | Accepted:
    """End a call, or hold its end back until what is awaited of its result is there.

    A call that a person broke off has `stopped`, whatever word its provider has for that; one that
    was over by then keeps its word.
    """
    known = known_of(request)
    result = {**known.result, **{k: v for k, v in ended.result.items() if v is not None}}
    since = _time(known.mark.get("ended_at")) or now
    is_broken_off = known.end_asked_at is not None and known.end_asked_at <= since
    if all(result.get(name) is not None for name in awaited) or now - since >= patience:
        return Ended(
            status="stopped" if is_broken_off else ended.status,
            # Only now: until then it may turn out that it was over before.
            result=result | {"hangup_by": "operator"} if is_broken_off else result,
            error_code=ended.error_code,
            error_message=ended.error_message,
            reference=ended.reference or request.reference,
        )
    pause = min(max((now - since) / 2, FIRST_PAUSE), LONGEST_PAUSE)
    held = {
        "ended_at": since.isoformat(),
        "status": ended.status,
        "error_code": ended.error_code,
        "error_message": ended.error_message,
    }
    return Accepted(
        reference=ended.reference or request.reference,
        status=DISCONNECTED,
        check_at=min(now + pause, since + patience),
        result=keep(request, result, **held),
    )


def resume(
    request: Request,
    news: JsonObject,
    *,
    awaited: Collection[str],
    patience: timedelta,
    now: datetime,
) -> Ended | Accepted | None:
    """Go on with an end that was held back, `news` added; None when there is none."""
    known = known_of(request)
    if not known.is_over:
        return None
    code, message = known.mark.get("error_code"), known.mark.get("error_message")
    ended = Ended(
        status=str(known.mark["status"]),
        result=news,
        error_code=code if isinstance(code, str) else None,
        error_message=message if isinstance(message, str) else None,
    )
    return finish(request, ended, awaited=awaited, patience=patience, now=now)


def _time(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
