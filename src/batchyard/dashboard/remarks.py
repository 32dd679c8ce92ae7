"""What was remarked on lists whose rows were taken all the same; told before anything starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from batchyard.dashboard import row_queries
from batchyard.dashboard.row_queries import Twin
from batchyard.dashboard.visitors import Visitor
from batchyard.dashboard.voice import Voice
from batchyard.intake.verdicts import REFUSALS, WARNINGS

SAME_FILE = "same_file"
EITHER = tuple(WARNINGS.keys() & REFUSALS.keys())
"""Codes that refuse a row or only remark on it, as the upload wanted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remark:
    """One thing that was remarked on rows, or on a file."""

    code: str
    n: int
    twin: Twin | None = None
    """The batch that the very same file went into before."""

    @property
    def sentence(self) -> str:
        """What is said of each, in English."""
        return WARNINGS[self.code].sentence


async def read_remarks(
    visitor: Visitor, batch_id: UUID, *, upload_id: UUID | None = None
) -> Sequence[Remark]:
    """Return what was remarked on the files of a batch, or on one of them; what is most, first."""
    async with visitor.db.pool.connection() as conn:
        counted = await row_queries.list_remarks(
            conn,
            team_id=visitor.team.id,
            batch_id=batch_id,
            upload_id=upload_id,
            codes=tuple(WARNINGS),
            either=EITHER,
        )
        twin = None
        if SAME_FILE in counted:
            twin = await row_queries.find_twin(conn, team_id=visitor.team.id, batch_id=batch_id)
    return [
        Remark(code=code, n=n, twin=twin if code == SAME_FILE else None)
        for code, n in counted.items()
    ]


def tell_remarks(voice: Voice, remarks: Sequence[Remark]) -> Sequence[str]:
    """Say that there are remarks, and the one that nobody may miss."""
    if not remarks:
        return []
    n = sum(remark.n for remark in remarks)
    told = [voice.count(n, "There is 1 remark.", "There are {n} remarks.")]
    return told + [voice.say(one.sentence) for one in remarks if one.code == SAME_FILE]
