"""One look at batches with due items: what it lets in, and what holds the rest; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from batchyard.contact_rules import Block
from batchyard.engine.assignment import Assignment
from batchyard.engine.hours import Hours
from batchyard.limits import Allowance, strictest
from batchyard.store import limits
from batchyard.store.items import ClaimedItem
from batchyard.store.providers import Closed
from batchyard.store.runs import PassedOver, Run


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """What one admission let in, and what holds the rest."""

    started: Sequence[tuple[Assignment, Sequence[ClaimedItem]]]
    is_capped: bool
    """Something due is held by a cap, so freed capacity matters to the team."""
    opens_at: datetime | None
    """When time alone lets something in: an item falls due, a rate or a provider opens."""
    blocked: Sequence[tuple[ClaimedItem, Block]] = ()
    """Claimed items that must not be sent; those without an intent have to be ended yet."""
    ajar: Sequence[tuple[Run, Hours]] = ()
    """Batches that had less to send than they might: something may wait for its window."""
    held_by: frozenset[int] = frozenset()
    """Providers whose cap, over all teams, has too little room for what is due."""

    @property
    def count(self) -> int:
        """How many items were let in."""
        return sum(len(claimed) for _, claimed in self.started)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """Why nothing of a batch was let in."""

    reason: str
    """One of the words of `operations.waiting`."""
    until: datetime | None = None
    is_cap: bool = False


@dataclass(kw_only=True, slots=True)
class Look:
    """What was let in so far, of batches looked at one after the other."""

    slots: int = 0
    allowances: dict[str, Allowance] = field(default_factory=dict)
    waits: dict[UUID, Wait] = field(default_factory=dict)
    started: list[tuple[Assignment, Sequence[ClaimedItem]]] = field(default_factory=list)
    blocked: list[tuple[ClaimedItem, Block]] = field(default_factory=list)
    ajar: list[tuple[Run, Hours]] = field(default_factory=list)
    held_by: set[int] = field(default_factory=set)
    dealt_until: set[datetime] = field(default_factory=set)
    last_id: UUID | None = None
    """The highest id of a batch that something was claimed of."""

    def is_behind(self, run: Run) -> bool:
        """Tell whether a batch goes before one that something was claimed of, by their ids.

        Each claim holds its batch and the batch's counts until the end of the transaction. Others
        lock those of several batches by id, so whoever goes back must not wait.
        """
        return self.last_id is not None and run.id < self.last_id

    def room(self, run: Run, keys: Sequence[str], provider_id: int, closed: Closed | None) -> int:
        """Return how many items of a batch may start; with 0 it is noted why it has to wait."""
        concerned = [self.allowances[key] for key in keys if key in self.allowances]
        room, wait = _room(concerned, closed, at_most=self.slots)
        if wait is not None:
            self.waits[run.id] = wait
            if wait.reason == "provider_cap":
                self.note_full(provider_id)
        return room

    def note_full(self, provider_id: int) -> None:
        """Note that a provider has no room left, if that is so."""
        allowance = self.allowances.get(limits.provider_key(provider_id))
        if allowance is not None and allowance.is_full:
            self.held_by.add(provider_id)
            if allowance.dealt_until is not None:
                self.dealt_until.add(allowance.dealt_until)

    def take(
        self,
        run: Run,
        assignment: Assignment,
        claimed: Sequence[ClaimedItem],
        refused: Mapping[UUID, Block],
        keys: Sequence[str],
    ) -> None:
        """Count what was claimed of a batch; what must not be sent takes nothing of its limits."""
        if claimed and not self.is_behind(run):
            self.last_id = run.id
        self.blocked += [(item, refused[item.id]) for item in claimed if item.id in refused]
        allowed = [item for item in claimed if item.id not in refused]
        if not allowed:
            return
        self.started.append((assignment, allowed))
        self.slots -= len(allowed)
        for key in keys:
            if key in self.allowances:
                self.allowances[key] = self.allowances[key].take(len(allowed))

    @property
    def is_team_held(self) -> bool:
        """Whether a limit of the whole team holds, so that no other batch could start either."""
        return any(wait.reason.startswith("team_") for wait in self.waits.values())

    def note_passed(self, passed: PassedOver, candidates: Sequence[Run]) -> None:
        """Note what need not be looked at again after nothing was let in."""
        for run in candidates:
            wait = self.waits.get(run.id)
            scope = "batch" if wait is None else wait.reason.partition("_")[0]
            if scope in ("provider", "retry"):
                passed.provider_ids.add(run.provider_id)
            elif scope == "agent" and run.agent_id is not None:
                passed.agent_ids.add(run.agent_id)
            else:
                passed.batch_ids.add(run.id)

    def admission(self) -> Admission:
        """Return what was let in, and what holds the rest."""
        untils = [wait.until for wait in self.waits.values() if wait.until is not None]
        return Admission(
            started=self.started,
            is_capped=any(wait.is_cap for wait in self.waits.values()),
            opens_at=min([*untils, *self.dealt_until], default=None),
            blocked=self.blocked,
            ajar=self.ajar,
            held_by=frozenset(self.held_by),
        )


def join(earlier: Admission, later: Admission) -> Admission:
    """Put two looks together, of which the earlier one let nothing in."""
    openings = [at for at in (earlier.opens_at, later.opens_at) if at is not None]
    return replace(
        later,
        is_capped=earlier.is_capped or later.is_capped,
        opens_at=min(openings, default=None),
        ajar=[*earlier.ajar, *later.ajar],
        held_by=earlier.held_by | later.held_by,
    )


def _room(
    concerned: Sequence[Allowance], closed: Closed | None, *, at_most: int
) -> tuple[int, Wait | None]:
    """Return how many items of a batch may start, or why none may."""
    if closed is not None:
        return 0, Wait(reason=closed.reason, until=closed.until)
    room, holder = strictest(concerned, at_most=at_most)
    if room > 0:
        return room, None
    if holder is None:
        return 0, Wait(reason="earlier_batch")
    scope = holder.key.partition(":")[0]
    if holder.opens_at is None:
        return 0, Wait(reason=f"{scope}_cap", is_cap=True)
    return 0, Wait(reason=f"{scope}_rate", until=holder.opens_at)
