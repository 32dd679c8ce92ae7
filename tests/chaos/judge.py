"""Compares what the database says with what the outside world did, item by item."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from uuid import UUID

from batchyard.models import Policy
from tests.chaos.watch import Eye, Watch, opened
from tests.chaos.yard import RETRIES, Yard
from tests.providers.fakes.plan import LOST_ANSWERS, TWIN

RESUMED_WITHIN_SECONDS = 15.0

ITEMS = """
SELECT i.id, i.batch_id, i.phase, i.status, i.try, d.attempts
  FROM items i LEFT JOIN item_data d ON d.item_id = i.id
"""
OPEN_BATCHES = "SELECT count(*) FROM batches WHERE finished_at IS NULL"
ENDINGS = """
SELECT b.id, (SELECT count(*) FROM witnessed w
               WHERE w.batch_id = b.id AND w.item_id IS NULL
                 AND w.after IN ('completed', 'failed', 'stopped'))::int
  FROM batches b
"""
LEFT_THEIR_END = "SELECT item_id, before, after FROM witnessed WHERE item_id IS NOT NULL"


@dataclass(frozen=True, kw_only=True, slots=True)
class Deed:
    """What the outside world did for one key."""

    key: str
    attempt: int
    effects: int
    status: str | None
    faults: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What the database says of one item."""

    id: UUID
    phase: str
    status: str
    attempt: int
    history: Mapping[int, str]
    """Recorded ends by attempt."""


@dataclass(kw_only=True, slots=True)
class Verdict:
    """The findings; a promise is broken where `broken` is not empty."""

    items: Counter[str] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    repeated: int = 0
    """Keys that were sent more than once: what the engine did to find the outcome."""
    lost: list[str] = field(default_factory=list)
    doubled: dict[Policy, list[str]] = field(default_factory=lambda: {p: [] for p in Policy})
    contradicted: list[str] = field(default_factory=list)
    untold: int = 0
    """Ends that were looked up, by a provider that shows no cause then."""
    reopened: list[str] = field(default_factory=list)
    unknown_done: int = 0
    unknown_not_done: int = 0
    unexplained: list[str] = field(default_factory=list)
    batches: int = 0
    not_ended_once: list[str] = field(default_factory=list)
    balance_checks: int = 0
    balance_faults: int = 0
    resumed: Sequence[float] = ()
    slow: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    callbacks: Counter[str] = field(default_factory=Counter)
    violations: Sequence[str] = ()
    """Where a vendor's specification was broken."""

    @property
    def resumed_median(self) -> float:
        """Seconds until work was taken up again."""
        return median(self.resumed) if self.resumed else 0.0

    @property
    def resumed_worst(self) -> float:
        """The longest of them."""
        return max(self.resumed, default=0.0)

    @property
    def broken(self) -> Mapping[str, Sequence[str]]:
        """Every promise that did not hold, with its cases."""
        cases: dict[str, Sequence[str]] = {
            "items lost": self.lost,
            "items with a status the provider did not give": self.contradicted,
            "items that left their end": self.reopened,
            "unknown items that could be decided": self.unexplained,
            "batches not ended exactly once": self.not_ended_once,
            "work not resumed in time": self.slow,
            "balance checks failed": ["failed"] * self.balance_faults,
            "exchanges that break the vendor's specification": self.violations,
            "balance never checked": [] if self.balance_checks else ["never"],
        }
        for policy, doubled in self.doubled.items():
            cases[f"items with more than one effect, {policy}"] = doubled
        return {promise: found for promise, found in cases.items() if found}


async def judge(yard: Yard, watch: Watch) -> Verdict:
    """Look at everything once all batches have ended."""
    async with opened(yard.url) as eye:
        ledger = await yard.read_ledger()
        deeds, told = _read_ledger(ledger)
        rows = {
            row.id: row for row in (_read_row(found) for found in await eye.insist(ITEMS)) if row
        }
        verdict = Verdict(
            balance_checks=watch.balance_checks,
            balance_faults=watch.balance_faults,
            callbacks=Counter(told),
            violations=list(map(str, ledger.get("violations", ()))),  # type: ignore[call-overload]
        )
        for load in yard.loads:
            policy = next(p for p, team in yard.teams.items() if team.id == load.team.id)
            for item_id in load.items:
                _judge_item(
                    verdict,
                    policy,
                    item_id,
                    row=rows.get(item_id),
                    deeds=deeds[item_id],
                    watch=watch,
                    untold={} if yard.conditions.vendor is None else yard.conditions.vendor.untold,
                )
        await _judge_batches(verdict, yard, eye)
        verdict.reopened += [f"{r[0]}: {r[1]} to {r[2]}" for r in await eye.insist(LEFT_THEIR_END)]
        _judge_pauses(verdict, watch, within=RESUMED_WITHIN_SECONDS * yard.conditions.patience)
        return verdict


def _judge_item(
    verdict: Verdict,
    policy: Policy,
    item_id: UUID,
    *,
    row: Row | None,
    deeds: Sequence[Deed],
    watch: Watch,
    untold: Mapping[str, Collection[str]],
) -> None:
    verdict.items[policy] += 1
    verdict.effects[policy] += sum(deed.effects for deed in deeds)
    verdict.faults.update(fault for deed in deeds for fault in deed.faults)
    if row is None or row.phase not in {"done", "unknown"}:
        verdict.lost.append(f"{item_id}: {row}")
        return
    verdict.doubled[policy] += _find_doubled(row, deeds)
    by_attempt = {deed.attempt: deed for deed in deeds}
    for attempt, status in row.history.items():
        deed = by_attempt.get(attempt)
        if deed is not None and deed.status in untold.get(status, ()):
            verdict.untold += 1
        elif deed is None or deed.status != status:
            verdict.contradicted.append(f"{item_id}.{attempt}: {status}, not {deed}")
    last = by_attempt.get(row.attempt)
    if row.phase == "unknown":
        _judge_unknown(verdict, row, last, watch.held_by_dead)
    elif last is not None and last.effects and last.status in untold.get(row.status, ()):
        # Counted with its history.
        return
    elif last is None or last.effects == 0 or last.status != row.status:
        verdict.contradicted.append(f"{item_id}.{row.attempt}: {row.status}, not {last}")


def _find_doubled(row: Row, deeds: Sequence[Deed]) -> list[str]:
    """Find keys with two effects, and effects of a new key that nobody wanted."""
    found = [f"{deed.key}: {deed.effects} effects, {deed}" for deed in deeds if deed.effects > 1]
    for deed in deeds:
        is_wanted = deed.attempt == row.attempt or row.history.get(deed.attempt) in RETRIES.statuses
        if deed.effects and not is_wanted:
            found.append(f"{deed.key}: repeated after {row.history.get(deed.attempt)}")
    return found


def _judge_unknown(
    verdict: Verdict, row: Row, deed: Deed | None, held_by_dead: Collection[UUID]
) -> None:
    """An answer was lost outside, or its worker died with it; else somebody could have known."""
    if deed is not None and deed.effects:
        verdict.unknown_done += 1
    else:
        verdict.unknown_not_done += 1
    if not (deed and is_explained(deed)) and row.id not in held_by_dead:
        verdict.unexplained.append(f"{row.id}.{row.attempt}: {deed}")


def is_explained(deed: Deed) -> bool:
    """Tell whether what went wrong outside may leave a key undecided.

    That somebody else called the same number does only where our call's own answer was lost: else
    its reference is known.
    """
    if TWIN in deed.faults:
        return not LOST_ANSWERS.isdisjoint(deed.faults)
    return bool(deed.faults)


async def _judge_batches(verdict: Verdict, yard: Yard, eye: Eye) -> None:
    endings = {row[0]: row[1] for row in await eye.insist(ENDINGS)}
    verdict.batches = len(yard.loads)
    for load in yard.loads:
        if endings.get(load.id) != 1:
            verdict.not_ended_once.append(f"{load.id}: {endings.get(load.id)} times")


def _judge_pauses(verdict: Verdict, watch: Watch, *, within: float) -> None:
    verdict.resumed = [i.seconds for i in watch.interruptions if i.seconds is not None]
    for one in watch.interruptions:
        if one.seconds is None or one.seconds > within:
            verdict.slow.append(f"{one.blow} ({one.name}, {one.held} held): {one.seconds} s")


def _read_ledger(ledger: Mapping[str, object]) -> tuple[dict[UUID, list[Deed]], Mapping[str, int]]:
    found: dict[UUID, list[Deed]] = defaultdict(list)
    deeds, callbacks = ledger["deeds"], ledger["callbacks"]
    assert isinstance(deeds, dict)
    assert isinstance(callbacks, dict)
    for key, deed in deeds.items():
        item_id, _, attempt = key.rpartition(".")
        found[UUID(item_id)].append(
            Deed(
                key=key,
                attempt=int(attempt),
                effects=deed["effects"],
                status=deed["status"],
                faults=deed["faults"],
            )
        )
    return found, callbacks


def _read_row(found: Sequence[object]) -> Row | None:
    item_id, _, phase, status, attempt, history = found
    if not isinstance(item_id, UUID) or not isinstance(history, list):
        return None
    return Row(
        id=item_id,
        phase=str(phase),
        status=str(status),
        attempt=int(str(attempt)),
        history={int(entry["attempt"]): str(entry["status"]) for entry in history},
    )
