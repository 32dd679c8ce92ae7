"""What an HTTP answer means: pure; the table is in docs/providers/http.md."""

import html
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from batchyard.errors import InvalidRequest
from batchyard.models import (
    Accepted,
    Answer,
    Document,
    Ended,
    Finding,
    JsonObject,
    Kind,
    Lost,
    NotReceived,
    Refused,
)
from batchyard.network.retry_after import read_retry_after
from batchyard.providers import results
from batchyard.providers.http_exchange import Reply

ALWAYS_NOT_DONE = frozenset({408, 425, 429})
"""By their meaning in HTTP the request was not acted on."""

LONGEST_WAIT_SECONDS = 86400.0
MESSAGE_LENGTH = 500
CODE_LENGTH = 100

MARKUP_LENGTH = 4096
"""So much of a page is searched for its words: what never closes is looked for at every `<` anew,
and everything else this process does waits meanwhile."""

MARKUP = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)|<[^>]*>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Booked:
    """A success whose documents are still to be had."""

    result: JsonObject
    """As received, with its `documents`."""
    reference: str | None = None

    def end(self, documents: Sequence[Document] = ()) -> Ended:
        """Return what it becomes once they are there."""
        rest = {key: value for key, value in self.result.items() if key != "documents"}
        return Ended(status="booked", result=rest, documents=documents, reference=self.reference)


Reading = Answer | Booked


def read_reply(reply: Reply, *, kind: Kind, not_done: Collection[int], now: datetime) -> Reading:
    """Say what the answer to a sent request means."""
    if reply.is_success:
        return _read_success(reply, kind=kind)
    code, message = f"http_{reply.status}", describe(reply)
    if reply.status in ALWAYS_NOT_DONE or reply.status in not_done:
        return Refused(code=code, message=message, retry_after_seconds=retry_after(reply, now=now))
    if 300 <= reply.status <= 499:
        return Ended(
            status=results.REJECTED_STATUS[kind],
            error_code=code,
            error_message=message,
            is_refusal=True,
        )
    return Lost(code=code, message=message)


def read_finding(reply: Reply, *, kind: Kind) -> Finding | Booked:
    """Say what the answer to a look-up means; only a success and a 404 decide anything."""
    if reply.status == 404:
        return NotReceived()
    if not reply.is_success:
        return Lost(code=f"http_{reply.status}", message=describe(reply))
    reading = _read_success(reply, kind=kind)
    # No success is ever read as a refusal.
    return Lost(code=reading.code, message="") if isinstance(reading, Refused) else reading


def read_news(body: bytes, *, kind: Kind) -> Ended | Accepted | Booked:
    """Read the body of a callback; raise `InvalidRequest` when it makes no sense."""
    return _read_answer(body, kind=kind, needs_status=True)


def describe(reply: Reply) -> str:
    """Return one short sentence about an answer that is no success."""
    if 300 <= reply.status <= 399:
        return f"The provider answered {reply.status}; redirects are not followed."
    said = _message(reply)
    return f"The provider answered {reply.status}{f': {said}' if said else '.'}"


def retry_after(reply: Reply, *, now: datetime) -> float | None:
    """Read for how many seconds an answer asks to be left alone; None when it does not."""
    seconds = read_retry_after(reply.headers.get("retry-after", ""), now=now)
    return None if seconds is None else min(seconds, LONGEST_WAIT_SECONDS)


def _read_success(reply: Reply, *, kind: Kind) -> Reading:
    if reply.status == 202 and not reply.body.strip():
        return Accepted()
    try:
        return _read_answer(reply.body, kind=kind, needs_status=reply.status != 202)
    except InvalidRequest as error:
        return Lost(code="answer_unreadable", message=error.message)


def _read_answer(body: bytes, *, kind: Kind, needs_status: bool) -> Ended | Accepted | Booked:
    answer = results.check_answer(kind, results.read_json(body))
    status, reference = _text(answer.get("status")), _text(answer.get("reference"))
    if status is None and needs_status:
        raise InvalidRequest("The answer has no status.")
    if status is None or status in results.PROGRESS_STATUSES[kind]:
        return Accepted(reference=reference, status=status)
    given = answer.get("result")
    result = given if isinstance(given, Mapping) else {}
    if status == "booked" and result.get("documents"):
        return Booked(result=result, reference=reference)
    code, message = _error(answer.get("error"))
    if status in {"failed", "error"}:
        code, message = code or "provider_failed", message or "The provider gave no reason."
    return Ended(
        status=status,
        result={key: value for key, value in result.items() if key != "documents"},
        error_code=code,
        error_message=message,
        reference=reference,
    )


def _error(error: object) -> tuple[str | None, str | None]:
    if isinstance(error, str):
        return "provider_failed", _shorten(error, MESSAGE_LENGTH)
    if not isinstance(error, Mapping):
        return None, None
    code, message = error.get("code"), error.get("message")
    return (
        _shorten(code, CODE_LENGTH) if isinstance(code, str) and code.strip() else None,
        _shorten(message, MESSAGE_LENGTH) if isinstance(message, str) else None,
    )


def _message(reply: Reply) -> str:
    """Find the words in a body: JSON's usual places, else the text without its markup."""
    text = reply.body.decode("utf-8", errors="replace")
    try:
        body = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        words = MARKUP.sub(" ", text[:MARKUP_LENGTH])
        return _shorten(html.unescape(words), MESSAGE_LENGTH)
    for _ in range(2):
        if not isinstance(body, Mapping):
            break
        places = (body.get(name) for name in ("message", "error", "detail", "title"))
        body = next((found for found in places if found), None)
    return _shorten(body, MESSAGE_LENGTH) if isinstance(body, str) else ""


def _shorten(text: str, length: int) -> str:
    plain = " ".join(text.replace("\0", "\ufffd").split())
    return plain if len(plain) <= length else f"{plain[: length - 1]}…"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
