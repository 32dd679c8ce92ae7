"""What a person can do to a batch: when it is possible, and what it would do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from batchyard.dashboard.standing import Standing
from batchyard.dashboard.voice import Voice
from batchyard.lifecycle import BatchEvent, states_allowing
from batchyard.models import BatchState
from batchyard.operations.changes import FAILED_STATUSES
from batchyard.operations.steering import Steer


@dataclass(frozen=True, kw_only=True, slots=True)
class Deed:
    """Something that can be done to a batch."""

    name: str
    """In addresses."""
    label: str
    question: str
    done: str
    """What is said afterwards."""
    icon: str
    steer: Steer | None
    """What it is to the operations; None is done otherwise."""
    states: Sequence[BatchState]
    is_grave: bool = False
    """It cannot be taken back."""
    is_primary: bool = False


DEEDS: Mapping[str, Deed] = {
    deed.name: deed
    for deed in (
        Deed(
            name="start",
            label="Start now",
            question="Start this batch?",
            done="The batch was started.",
            icon="play",
            steer=Steer.DISPATCH,
            states=states_allowing(BatchEvent.DISPATCHED),
            is_primary=True,
        ),
        Deed(
            name="resume",
            label="Resume",
            question="Resume this batch?",
            done="The batch goes on.",
            icon="play",
            steer=Steer.RESUME,
            states=states_allowing(BatchEvent.RESUMED),
            is_primary=True,
        ),
        Deed(
            name="pause",
            label="Pause",
            question="Pause this batch?",
            done="The batch is paused.",
            icon="pause",
            steer=Steer.PAUSE,
            states=states_allowing(BatchEvent.PAUSED),
            is_primary=True,
        ),
        Deed(
            name="retry",
            label="Retry failed",
            question="Try failed items again?",
            done="Items are tried again.",
            icon="retry",
            steer=None,
            states=(
                BatchState.RUNNING,
                BatchState.PAUSED,
                *states_allowing(BatchEvent.REOPENED),
            ),
        ),
        Deed(
            name="stop",
            label="Stop",
            question="Stop this batch?",
            done="The batch is stopped; what is in flight runs to its end.",
            icon="stop",
            steer=Steer.STOP,
            states=states_allowing(BatchEvent.STOPPED),
            is_grave=True,
        ),
        Deed(
            name="cancel",
            label="Cancel",
            question="Cancel this batch?",
            done="The batch was cancelled.",
            icon="stop",
            steer=Steer.CANCEL,
            states=states_allowing(BatchEvent.CANCELLED),
            is_grave=True,
        ),
        Deed(
            name="delete",
            label="Delete",
            question="Delete this batch?",
            done="The batch was deleted.",
            icon="delete",
            steer=Steer.DELETE,
            states=tuple(BatchState),
            is_grave=True,
        ),
    )
}


def deeds_for(standing: Standing) -> Sequence[Deed]:
    """Return what can be done to a batch now."""
    return [
        deed
        for deed in DEEDS.values()
        if standing.batch.state in deed.states
        and (deed.name != "retry" or any(retriable(standing).values()))
        and (deed.name != "start" or standing.figures.total)
    ]


def retriable(standing: Standing) -> Mapping[str, int]:
    """Return how many items have each status that can be retried, the usual ones first."""
    kind = standing.batch.kind
    words = (*FAILED_STATUSES[kind], "stopped")
    by_status = standing.figures.by_status
    return {word: by_status.get(word, 0) for word in words if by_status.get(word, 0)}


def consequences(deed: Deed, standing: Standing, voice: Voice) -> Sequence[str]:
    """Say what a deed would do to how many items."""
    return [sentence for sentence in _CONSEQUENCES[deed.name](standing, voice) if sentence]


def _start(standing: Standing, voice: Voice) -> Sequence[str]:
    n = standing.figures.unsent
    return [voice.count(n, "1 item may be sent from now on.", "{n} items may be sent from now on.")]


def _resume(standing: Standing, voice: Voice) -> Sequence[str]:
    n = standing.figures.unsent
    return [voice.count(n, "1 item goes on.", "{n} items go on.")]


def _pause(standing: Standing, voice: Voice) -> Sequence[str]:
    n = standing.figures.unsent
    return [
        voice.count(n, "1 item waits until you resume.", "{n} items wait until you resume."),
        _in_flight(standing, voice),
    ]


def _stop(standing: Standing, voice: Voice) -> Sequence[str]:
    n = standing.figures.unsent
    return [
        voice.count(
            n,
            "1 item that was not sent ends as stopped.",
            "{n} items that were not sent end as stopped.",
        ),
        _in_flight(standing, voice),
        voice.say("What has ended stays as it is."),
    ]


def _cancel(standing: Standing, voice: Voice) -> Sequence[str]:
    n = standing.figures.total
    return [voice.count(n, "1 item ends as cancelled.", "{n} items end as cancelled.")]


def _delete(standing: Standing, voice: Voice) -> Sequence[str]:
    n = standing.figures.total
    return [
        voice.count(
            n,
            "The batch and its 1 item are gone at once, for everybody.",
            "The batch and its {n} items are gone at once, for everybody.",
        ),
        _in_flight(standing, voice),
    ]


def _retry(standing: Standing, voice: Voice) -> Sequence[str]:
    del standing
    return [voice.say("Each becomes a new attempt. Outcomes that are unknown are not touched.")]


def _in_flight(standing: Standing, voice: Voice) -> str:
    n = standing.figures.in_flight
    if not n:
        return ""
    return voice.count(
        n, "1 item in flight runs to its end.", "{n} items in flight run to their end."
    )


_CONSEQUENCES: Mapping[str, Callable[[Standing, Voice], Sequence[str]]] = {
    "start": _start,
    "resume": _resume,
    "pause": _pause,
    "retry": _retry,
    "stop": _stop,
    "cancel": _cancel,
    "delete": _delete,
}
