"""What a call does once it is answered: speak, then hang up; pure.

Telnyx is told each step by a command. What is due is kept beside the item, as news of a webhook,
and done when the item is looked up, which is at once: reading a webhook waits for nothing.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from batchyard.models import Ended, JsonObject
from batchyard.providers.call_endings import Known
from batchyard.providers.telnyx_answers import Event

MACHINES = frozenset({"machine", "fax_detected"})

STEP_PATIENCE = timedelta(seconds=40)
"""A command's key holds for a minute; a step that nobody confirms is not repeated for longer."""


class Step(StrEnum):
    """A command that is due."""

    SPEAK = "speak"
    HANG_UP = "hangup"


def read_step(known: Known, *, now: datetime) -> Step | None:
    """Return the command that is due; None when there is none, or it is too late for it."""
    step, since = _find_step(known)
    return step if since is not None and now - since <= STEP_PATIENCE else None


def read_lapsed_step(known: Known, *, now: datetime) -> Step | None:
    """Return the command that was due for so long that it is not repeated."""
    step, since = _find_step(known)
    return step if since is not None and now - since > STEP_PATIENCE else None


def marks_of(
    event: Event,
    known: Known,
    *,
    says: bool,
    detection: Literal["off", "detect", "greeting_end"],
    now: datetime,
) -> tuple[JsonObject, JsonObject] | None:
    """Return what an event adds to the result, and which marks it leaves; None: nothing."""
    result: JsonObject = {}
    marks: dict[str, object] = {}
    step: Step | None = None
    match event.type:
        case "call.answered":
            marks["answered_at"] = (event.at or now).isoformat()
            step = Step.SPEAK if says and detection == "off" else None
        case "call.machine.detection.ended":
            is_machine = event.payload.get("result") in MACHINES
            result = {"answered_by_voice_mail": is_machine}
            waits = is_machine and detection == "greeting_end"
            step = Step.SPEAK if says and not waits else None
        case "call.machine.greeting.ended":
            step = Step.SPEAK if says else None
        case "call.speak.ended" | "call.playback.ended":
            marks["has_spoken"] = True
            step = Step.HANG_UP
        case _:
            return None
    if step is not None and not _is_done(known, step):
        marks |= begin_step(step, now=now)
    return result, marks


def begin_step(step: Step, *, now: datetime) -> JsonObject:
    """Return the marks of a command that is due from now on."""
    return {"step": step, "step_at": now.isoformat()}


def after_step(known: Known, step: Step) -> JsonObject:
    """Return the marks once a command was taken."""
    return {"step": None, "done": [*_list_done(known), step]}


def after_lost_step(step: Step) -> JsonObject:
    """Return the marks once the answer to a command was lost: it may have been carried out."""
    return {"may_have_spoken": True} if step is Step.SPEAK else {}


def give_text_up(known: Known, *, why: str, now: datetime) -> JsonObject:
    """Return the marks once a text is not to be said any more: the call has to be hung up."""
    done = [*_list_done(known), Step.SPEAK]
    return {**begin_step(Step.HANG_UP, now=now), "done": done, "text_given_up": why}


def judge_end(known: Known, ended: Ended) -> Ended:
    """Say of the end of an answered call that its text was given up.

    Where it may have been said all the same the call keeps its word: no retry policy for errors
    says it again.
    """
    why = known.mark.get("text_given_up")
    is_told = ended.status != "completed" or "has_spoken" in known.mark
    if is_told or not isinstance(why, str):
        return ended
    if "may_have_spoken" in known.mark:
        return replace(
            ended,
            error_code="say_lost",
            error_message=f"Nobody knows whether the text was said; the call was hung up. {why}",
        )
    return replace(
        ended,
        status="error",
        error_code="say_refused",
        error_message=f"Nothing was said; the call was hung up. {why}",
    )


def _find_step(known: Known) -> tuple[Step | None, datetime | None]:
    step, since = known.mark.get("step"), known.mark.get("step_at")
    if not isinstance(step, str) or not isinstance(since, str):
        return None, None
    return Step(step), datetime.fromisoformat(since)


def _is_done(known: Known, step: Step) -> bool:
    return step in _list_done(known)


def _list_done(known: Known) -> list[object]:
    done = known.mark.get("done")
    return done if isinstance(done, list) else []
