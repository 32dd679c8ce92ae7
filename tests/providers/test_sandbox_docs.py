from pathlib import Path

from batchyard.providers.sandbox import CHECK_SLACK, REFUSED_SECONDS
from batchyard.providers.sandbox_calls import (
    CALL_MIX,
    CENTS_PER_MINUTE,
    SPECIAL_NUMBERS,
    CallOutcome,
    call_fate,
)
from batchyard.providers.sandbox_fate import REPEATED_AFTER_SECONDS, Manner, Special
from batchyard.providers.sandbox_shipments import (
    OTHER_FORMAT,
    REFUSED_PREFIX,
    SHIPMENT_MIX,
    SPECIAL_POSTAL_CODES,
    TRACKING_FORMATS,
    ShipmentOutcome,
)
from tests.providers.requests import make_call

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")


def read_table(first_cell: str) -> list[list[str]]:
    """Read the rows of the table whose header begins so."""
    lines = PAGE.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_cell} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def as_row(key: str, special: Special[CallOutcome] | Special[ShipmentOutcome]) -> list[str]:
    return [key, special.outcome, special.first_outcome or "", special.manner]


def test_page_lists_every_special_number() -> None:
    assert read_table("last digits") == [as_row(*row) for row in SPECIAL_NUMBERS.items()]


def test_page_lists_every_special_postal_code() -> None:
    refused = [f"{REFUSED_PREFIX}...", ShipmentOutcome.ADDRESS_REFUSED, "", Manner.PLAIN]
    expected = [as_row(*row) for row in SPECIAL_POSTAL_CODES.items()]
    assert read_table("postal code") == [*expected, refused]


def test_page_tells_the_mixes() -> None:
    assert read_table("other calls") == [[o, str(share)] for o, share in CALL_MIX.items()]
    assert read_table("other bookings") == [[o, str(share)] for o, share in SHIPMENT_MIX.items()]
    assert sum(CALL_MIX.values()) == sum(SHIPMENT_MIX.values()) == 100


def test_page_tells_how_long_calls_take() -> None:
    rows = {
        row[0]: (float(row[1]), float(row[2])) for row in read_table("call, seconds at speed 1")
    }
    assert set(rows) == set(CallOutcome)
    digits = {"completed": "04", "voicemail": "03", "no-answer": "02", "busy": "01", "failed": "08"}
    for outcome, (least, most) in rows.items():
        lasting = [
            call_fate(make_call(f"+1212555{n:03d}{digits[outcome]}"), seed="s") for n in range(300)
        ]
        seconds = [decided.ends_after_seconds for decided in lasting]
        width = most - least
        assert least <= min(seconds) <= least + width / 5
        assert most - width / 5 <= max(seconds) <= most


def test_page_explains_every_manner() -> None:
    assert [row[0] for row in read_table("manner")] == list(Manner)


def test_page_tells_the_formats_of_tracking_codes() -> None:
    expected = [
        [carrier, ", ".join(filter(None, (prefix and f"`{prefix}`", f"{n} digits", "check digit")))]
        for carrier, (prefix, n) in {**TRACKING_FORMATS, "others": OTHER_FORMAT}.items()
    ]
    assert read_table("carrier") == expected


def test_page_tells_the_times_and_prices() -> None:
    assert f"checked {CHECK_SLACK.total_seconds():g} s after its end" in PAGE
    assert f"({REFUSED_SECONDS:g} s at speed 1)" in PAGE
    assert f"{REPEATED_AFTER_SECONDS:g} s after the end comes an old status" in PAGE
    assert f"after {2 * REPEATED_AFTER_SECONDS:g} s the end again" in PAGE
    assert f"({CENTS_PER_MINUTE} US cents for each minute" in " ".join(PAGE.split())
