"""What may be asked of an upload, and what is told of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from batchyard.intake.choices import Duplicates, RowPolicy
from batchyard.intake.columns import Columns
from batchyard.intake.files import MAX_UNPACKED_BYTES, Format
from batchyard.models import Kind
from batchyard.store.imports import RejectedRow

SHOWN_REFUSALS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class IntakeOptions:
    """How a file is read and judged."""

    columns: Columns = field(default_factory=Columns)
    formats: frozenset[Format] = frozenset(Format)
    takes_gzip: bool = True
    encoding: str | None = None
    """Of a text; found unless said."""
    sheet: str | None = None
    """Of a spreadsheet; None is the first visible one."""
    policy: RowPolicy = RowPolicy.GOOD_ROWS
    duplicates: Duplicates = Duplicates.KEEP
    """Within the file."""
    recent: Duplicates = Duplicates.KEEP
    """Against what the team did or has to do since `recent_days`."""
    recent_days: int = 7
    """0 does not look back."""
    refuses_unassigned: bool = False
    pads_short_rows: bool = False
    """Of calls: cells that are missing at the end of a row are empty, with a warning."""
    refuses_same_file: bool = False
    max_unpacked_bytes: int = MAX_UNPACKED_BYTES
    total_bytes: int | None = None
    """How large the file will be, if that was said; for the progress only."""
    upload_id: UUID | None = None
    """Under which id the progress can be followed; made unless given."""

    @property
    def kind(self) -> Kind:
        """What the rows are."""
        return self.columns.kind


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadReport:
    """What became of the rows of a file."""

    rows: int = 0
    accepted: int = 0
    corrected: int = 0
    """Rows that corrected a failed item, which is tried again."""
    refused: int = 0
    skipped: int = 0
    codes: Mapping[str, int] = field(default_factory=dict)
    """Rows by the code of their verdict, warnings included."""
    first_refusals: Sequence[RejectedRow] = ()
    duplicate_of: UUID | None = None
    """The batch that the very same file went into minutes ago."""
    offered_mapping: str | None = None
    """The team has a mapping saved for this header that was not used."""
