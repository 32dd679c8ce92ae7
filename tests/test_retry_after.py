"""`Retry-After` in both its forms."""

from datetime import UTC, datetime

import pytest

from batchyard.network.retry_after import read_retry_after

NOW = datetime(2026, 12, 1, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text,seconds",
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Tue, 01 Dec 2026 02:10:00 GMT", 600.0),
        ("Tue, 01 Dec 2026 02:10:00 -0000", 600.0),
        ("Mon, 30 Nov 2026 02:10:00 GMT", 0.0),
        ("Tue, 01 Dec 20266666666666666666 02:10:00 GMT", None),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_seconds_and_dates_are_read(text: str, seconds: float | None) -> None:
    assert read_retry_after(text, now=NOW) == seconds
