"""The fates of calls in the sandbox: the last two digits decide, else a mix; pure."""

from enum import StrEnum
from random import Random

from batchyard.models import Ended, JsonObject, Request
from batchyard.providers.sandbox_fate import Event, Fate, Manner, Special, dice, reference

CENTS_PER_MINUTE = 5
CURRENCY = "USD"


class CallOutcome(StrEnum):
    """How a call can end."""

    COMPLETED = "completed"
    VOICEMAIL = "voicemail"
    NO_ANSWER = "no-answer"
    BUSY = "busy"
    FAILED = "failed"


C = CallOutcome

SPECIAL_NUMBERS: dict[str, Special[CallOutcome]] = {
    "01": Special(outcome=C.BUSY),
    "02": Special(outcome=C.NO_ANSWER),
    "03": Special(outcome=C.VOICEMAIL),
    "04": Special(outcome=C.COMPLETED, manner=Manner.REFUSED_FIRST),
    "05": Special(outcome=C.COMPLETED, manner=Manner.ANSWER_LOST),
    "06": Special(outcome=C.COMPLETED, manner=Manner.TWICE_AND_LATE),
    "07": Special(outcome=C.COMPLETED, manner=Manner.LOST_FIRST),
    "08": Special(outcome=C.FAILED),
    "09": Special(outcome=C.COMPLETED, first_outcome=C.BUSY),
    "10": Special(outcome=C.COMPLETED, manner=Manner.SILENT),
}
"""By the last two digits of the number; compared with `docs/sandbox.md` by a test."""

CALL_MIX: dict[CallOutcome, int] = {
    C.COMPLETED: 70,
    C.NO_ANSWER: 12,
    C.BUSY: 8,
    C.VOICEMAIL: 6,
    C.FAILED: 4,
}
"""Percent of all other numbers."""

ORDINARY_CLOSINGS = (
    ("That suits me fine.", "Thank you, I have noted it. Have a good day."),
    ("Could you send me the details in writing?", "Of course, you will get them today. Goodbye."),
    ("I would rather have another time.", "No problem, a colleague will call you back. Goodbye."),
    ("Thank you for the reminder.", "You are welcome. Goodbye."),
)


def call_fate(request: Request, *, seed: str) -> Fate:
    """Return what becomes of a call.

    It depends on seed, number and attempt, and on no key, so that a file runs alike each time.
    """
    number = request.number or ""
    special = SPECIAL_NUMBERS.get(number[-2:])
    if special is not None:
        outcome, manner = special.outcome_of(request.attempt), special.manner
    else:
        chance = dice(seed, "call", number, request.attempt)
        outcome = chance.choices(tuple(CALL_MIX), weights=tuple(CALL_MIX.values()))[0]
        manner = Manner.PLAIN
    die = dice(seed, "talk", number, request.attempt)
    match outcome:
        case C.COMPLETED | C.VOICEMAIL:
            return _answered(request, outcome, manner, die)
        case C.NO_ANSWER:
            return _unanswered(request, manner, die)
        case _:
            return _refused(request, outcome, manner, die)


def _answered(request: Request, outcome: CallOutcome, manner: Manner, die: Random) -> Fate:
    by_machine = outcome is C.VOICEMAIL
    ringing = die.uniform(1, 3)
    ring = die.uniform(15, 25) if by_machine else die.uniform(3, 12)
    end = die.uniform(30, 60) if by_machine else die.uniform(20, 180)
    talk = max(1, round(end - ringing - ring))
    result = _result(
        ring_seconds=ring,
        duration_seconds=talk,
        transcript=_message(request) if by_machine else _conversation(request, die),
        answered_by_voice_mail=by_machine,
        hangup_by="assistant" if by_machine else die.choice(("assistant", "recipient")),
        hangup_reason="voicemail_detected" if by_machine else "conversation_ended",
    )
    return Fate(
        events=(
            Event(after_seconds=0, status="initiated"),
            Event(after_seconds=ringing, status="ringing"),
            Event(after_seconds=ringing + ring, status="in-progress"),
        ),
        ends_after_seconds=end,
        ending=Ended(status="completed", result=result, reference=reference(request.key)),
        manner=manner,
    )


def _unanswered(request: Request, manner: Manner, die: Random) -> Fate:
    ringing, ring = die.uniform(1, 3), die.uniform(25, 45)
    return Fate(
        events=(
            Event(after_seconds=0, status="initiated"),
            Event(after_seconds=ringing, status="ringing"),
        ),
        ends_after_seconds=ringing + ring,
        ending=Ended(
            status="no-answer",
            result=_result(ring_seconds=ring, hangup_reason="no_answer"),
            reference=reference(request.key),
        ),
        manner=manner,
    )


def _refused(request: Request, outcome: CallOutcome, manner: Manner, die: Random) -> Fate:
    is_busy = outcome is C.BUSY
    return Fate(
        events=(Event(after_seconds=0, status="initiated"),),
        ends_after_seconds=die.uniform(2, 6),
        ending=Ended(
            status="busy" if is_busy else "failed",
            result=_result(hangup_reason="user_busy" if is_busy else "network_out_of_order"),
            error_code=None if is_busy else "call_failed",
            error_message=None if is_busy else "The network could not connect the call.",
            reference=reference(request.key),
        ),
        manner=manner,
    )


def _result(
    *,
    hangup_reason: str,
    ring_seconds: float = 0,
    duration_seconds: int = 0,
    transcript: str | None = None,
    answered_by_voice_mail: bool = False,
    hangup_by: str = "carrier",
) -> JsonObject:
    minutes = -(-duration_seconds // 60)
    return {
        "duration_seconds": duration_seconds,
        "ring_duration_seconds": round(ring_seconds, 1),
        "cost_minor": minutes * CENTS_PER_MINUTE,
        "currency": CURRENCY,
        "transcript": transcript,
        "recording_url": None,
        "answered_by_voice_mail": answered_by_voice_mail,
        "hangup_by": hangup_by,
        "hangup_reason": hangup_reason,
    }


def _conversation(request: Request, die: Random) -> str:
    wish, closing = die.choice(ORDINARY_CLOSINGS)
    return "\n".join(
        (
            f"assistant: Hello, am I speaking with {_name(request)}?",
            "user: Yes, speaking.",
            f"assistant: {_subject(request)}",
            f"user: {wish}",
            f"assistant: {closing}",
        )
    )


def _message(request: Request) -> str:
    message = f"Hello, this is a message for {_name(request)}. {_subject(request)}"
    return "\n".join(
        (
            "user: Please leave a message after the tone.",
            f"assistant: {message} We will try again later.",
        )
    )


def _name(request: Request) -> str:
    names = (_variable(request, "first_name"), _variable(request, "last_name"))
    return " ".join(filter(None, names)) or _variable(request, "name") or "the account holder"


def _subject(request: Request) -> str:
    if appointment := _variable(request, "appointment"):
        return f"I am calling about your appointment on {appointment}."
    if amount := _variable(request, "amount"):
        return f"I am calling about an open amount of {amount}."
    if company := _variable(request, "company"):
        return f"I am calling on a matter of {company}."
    return "I am calling with a short piece of news for you."


def _variable(request: Request, name: str) -> str:
    value = request.payload.get(name)
    return str(value).strip()[:200] if isinstance(value, str | int | float) else ""
