"""The numbers behind charts, as JSON that `charts.js` draws; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from batchyard.dashboard.queries import Throughput

POINTS = 180
"""About as many as a narrow chart has pixels to spare for."""
MOST_POINTS = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """How fast a batch went."""

    series: str
    """`[[seconds since 1970], [succeeded a minute], [failed a minute]]`"""
    peak_per_minute: float
    peak_at: datetime


def draw_throughput(points: Sequence[Throughput], *, is_running: bool) -> Chart | None:
    """Return the chart of a batch, its gaps filled with nothing; None where there is nothing.

    The last bucket of a batch that runs is not complete and would look like a fall.
    """
    if is_running:
        points = points[:-1]
    if not points:
        return None
    step = points[0].seconds
    known = {round(point.at.timestamp()): point for point in points}
    first, last = min(known), max(known)
    times = list(range(first, last + step, step))[:MOST_POINTS]
    per_minute = 60 / step
    ended = [known.get(at) for at in times]
    series = [
        times,
        [round(per_minute * point.ok, 1) if point else 0 for point in ended],
        [round(per_minute * point.failed, 1) if point else 0 for point in ended],
    ]
    peak = max(points, key=lambda point: point.ok + point.failed)
    return Chart(
        series=orjson.dumps(series).decode(),
        peak_per_minute=per_minute * (peak.ok + peak.failed),
        peak_at=peak.at,
    )
