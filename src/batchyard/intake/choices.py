"""What whoever uploads a list may choose."""

from enum import StrEnum


class RowPolicy(StrEnum):
    """What becomes of the good rows of a file that has bad ones."""

    GOOD_ROWS = "good_rows"
    """They are taken; the bad ones can be mended."""
    ALL_OR_NOTHING = "all_or_nothing"


class Duplicates(StrEnum):
    """What becomes of a row whose number or reference was there before."""

    KEEP = "keep"
    """It is done again, with a warning."""
    SKIP = "skip"
    """It is left out."""
    REFUSE = "refuse"
    """It is refused, and can be mended like any other."""
