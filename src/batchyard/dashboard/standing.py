"""Where a batch stands: the batch itself, its figures, its pace, what holds it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from batchyard.dashboard.figures import Figures, Pace, measure_pace, pace_since
from batchyard.dashboard.queries import ShownBatch
from batchyard.models import BatchState
from batchyard.operations.waiting import REASONS, Waiting, is_believed
from batchyard.store.tallies import BUCKET_SECONDS

BUCKET = timedelta(seconds=BUCKET_SECONDS)
RUNNING = frozenset({BatchState.QUEUED, BatchState.RUNNING})
ENDED = frozenset(
    {BatchState.COMPLETED, BatchState.FAILED, BatchState.STOPPED, BatchState.CANCELLED}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A batch as people see it."""

    batch: ShownBatch
    figures: Figures
    pace: Pace | None
    """Of one that runs."""
    held_by: Waiting | None
    """Why it does not go on, as its last admission found."""

    @property
    def name(self) -> str:
        """What people know it by."""
        batch = self.batch
        return batch.reference or batch.file_name or batch.identifier or batch.id.hex[:12]

    @property
    def is_running(self) -> bool:
        """Whether its items may be sent."""
        return self.batch.state in RUNNING

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is sent unless somebody wants it."""
        return self.batch.state in ENDED


def counted_since(now: datetime) -> datetime:
    """Return from when on ended attempts are counted for the pace."""
    return pace_since(now, BUCKET)


def stand(batch: ShownBatch, *, now: datetime) -> Standing:
    """Return where a batch stands that was read with `counted_since(now)`."""
    figures = Figures(counts=batch.counts)
    pace = measure_pace(
        batch.ended,
        since=counted_since(now),
        started_at=batch.started_at,
        to_go=figures.total - figures.done - figures.unknown,
        now=now,
    )
    return Standing(
        batch=batch,
        figures=figures,
        pace=pace if batch.state in RUNNING else None,
        held_by=_held_by(batch, now=now),
    )


def _held_by(batch: ShownBatch, *, now: datetime) -> Waiting | None:
    if batch.wait_reason not in REASONS:
        return None
    if batch.state is BatchState.PAUSED:
        by = batch.paused_by if batch.wait_reason == "paused" else None
        return Waiting(reason=batch.wait_reason, by=by)
    if batch.state in RUNNING and is_believed(batch.wait_noted_at, now):
        return Waiting(reason=batch.wait_reason)
    return None
