"""What a fake is told about the world it stands for: how often what goes wrong, and how fast."""

import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from tests.providers.fakes.ledger import Deed

FAULTS = {
    "busy_before": "429, and nothing is done",
    "reset_before": "the connection breaks before anything is done",
    "unavailable_before": "503, and nothing is done",
    "error_after": "500 although the call is placed",
    "gateway_after": "502 in HTML although the call is placed",
    "reset_after": "the connection breaks after the call was placed",
    "hang_after": "no answer although the call is placed",
    "late": "the call is placed after the client has given up",
}
"""The fault matrix of a request to place a call."""

LOST_ANSWERS = frozenset({"error_after", "gateway_after", "reset_after", "hang_after", "late"})
"""Those in which a call is placed and nobody learns which."""

TWIN = "twin"
"""Noted of a call whose number somebody else calls at the same time."""

CALLBACK_FAULTS = ("lost", "doubled", "reordered", "early")

OUTCOMES = {"completed": 0.7, "busy": 0.15, "no-answer": 0.1, "failed": 0.05}


@dataclass(kw_only=True)
class Plan:
    """Rates between 0 and 1, and times in seconds."""

    seed: str = "fake"
    faults: Mapping[str, float] = field(default_factory=dict)
    callback_faults: Mapping[str, float] = field(default_factory=dict)
    outcomes: Mapping[str, float] = field(default_factory=lambda: dict(OUTCOMES))
    step_seconds: float = 0.05
    """Between one state of a call and the next."""
    queue_seconds: float = 0
    """How long a call waits before it is dialled, at Twilio unless it is released."""
    queued: float = 1
    """How many calls wait so long."""
    listed_after_seconds: float = 0
    """How long a new call is missing in lists."""
    listed_after_lists: int = 0
    """In how many of the lists that ask for its numbers a new call of Twilio is missing."""
    late_seconds: float = 0.7
    """How long a `late` request takes before the call is placed."""
    price_after_seconds: float = 0
    """How long after its end a call has no price, at Twilio unless it is released."""
    undecided: float = 0
    """How often a look-up answers 503."""
    twins: str = ""
    """Numbers that end so are called by somebody else too, through the same account and at the same
    time as a call that is answered. One that is not may be tried again, and the other's call could
    then be taken for that."""
    wrong_signature: bool = False
    """Callbacks are signed with another secret."""
    is_deaf: bool = False
    """Twilio takes no address for its callbacks, as where none of the public internet is given."""
    is_suspended: bool = False
    """The account's credentials are no longer taken."""
    callback_retries: int = 1
    """How often news that nobody took is told once more."""
    key_seconds: float = 60
    """How long a key given with a call is honoured, where there is one."""
    pages_by: str = "number"
    """How a list of live calls goes on, where the vendor tells it in several ways: by `number`,
    `cursor`, the address of the `next` page, or `nothing` that is said."""
    closed: Sequence[str] = ()
    """Kinds of resources that the key may not see."""
    breaks_off_speech: bool = False
    """A command to speak is carried out and never answered: its connection breaks once it was told
    that the text is spoken."""
    refuses_speech: str = ""
    """The code with which a command to speak is turned down; empty: it is carried out."""
    unheard_seconds: float = 2
    """When whoever answered a call of Telnyx hangs up because nothing is said or done."""
    calls_per_second: float = 0
    """More calls than this in one second are refused, or wait, as the vendor has it; 0: never."""

    def change(self, changes: Mapping[str, object]) -> None:
        """Change what happens from now on; raise `KeyError` for what is no part of a plan."""
        known = {one.name for one in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise KeyError(name)
            setattr(self, name, value)


class Fate:
    """Draws what happens; what was ordered comes first."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._dice = random.Random(plan.seed)
        self._ordered: deque[str] = deque()

    def order(self, faults: list[str]) -> None:
        """Let the next requests meet these faults; `none` is no fault."""
        self._ordered.extend(faults)

    def fault(self) -> str | None:
        """Draw the fault of a request to place a call."""
        if self._ordered:
            found = self._ordered.popleft()
            return None if found == "none" else found
        return self._draw(self._plan.faults)

    def callback_fault(self, deed: Deed) -> str | None:
        """Draw the fault of a call's callbacks, and note it."""
        fault = self._draw(self._plan.callback_faults)
        if fault is not None:
            deed.faults.append(f"callback {fault}")
        return fault

    def outcome(self) -> str:
        """Draw how a call ends."""
        words, weights = zip(*self._plan.outcomes.items(), strict=True)
        return str(self._dice.choices(words, weights)[0])

    def queue_seconds(self) -> float:
        """Draw how long a call waits."""
        if not self._plan.queue_seconds or self._dice.random() >= self._plan.queued:
            return 0
        return self._plan.queue_seconds

    def is_undecided(self) -> bool:
        """Draw whether a look-up fails."""
        return self._dice.random() < self._plan.undecided

    def _draw(self, chances: Mapping[str, float]) -> str | None:
        rest = 1 - sum(chances.values())
        return self._dice.choices([*chances, None], [*chances.values(), rest])[0]
