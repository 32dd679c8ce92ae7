"""What a call does once it is answered: speak, then hang up; pure.

Telnyx is told each step by a command. What is due is kept beside the item, as news of a webhook,
and done when the item is looked up, which is at once: reading a webhook waits for nothing.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from batchyard.models import JsonObject
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
    step, since = known.mark.get("step"), known.mark.get("step_at")
    if not isinstance(step, str) or not isinstance(since, str):
        return None
    return Step(step) if now - datetime.fromisoformat(since) <= STEP_PATIENCE else None


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
            step = Step.HANG_UP
        case _:
            return None
    if step is not None and not _is_done(known, step):
        marks |= {"step": step, "step_at": now.isoformat()}
    return result, marks


def after_step(known: Known, step: Step) -> JsonObject:
    """Return the marks once a command was taken."""
    done = known.mark.get("done")
    before = list(done) if isinstance(done, list) else []
    return {"step": None, "done": [*before, step]}


def _is_done(known: Known, step: Step) -> bool:
    done = known.mark.get("done")
    return isinstance(done, list) and step in done
