"""How fast a batch goes, from what was counted lately; pure."""

from collections import deque

WINDOW_SECONDS = 30.0
"""What is older says little about now."""

SHORTEST_SECONDS = 1.0
"""Less says nothing yet."""


class Pace:
    """Counts of ended items over the last half minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, ended: int, *, at: float) -> None:
        """Take down how many items had ended; `at` is in seconds of any clock that only rises."""
        if self._seen and ended < self._seen[-1][1]:
            # Failed items are tried again: counting begins anew.
            self._seen.clear()
        self._seen.append((at, ended))
        while at - self._seen[0][0] > WINDOW_SECONDS:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """Items that end in a second; None while too little was seen."""
        if not self._seen:
            return None
        (first_at, first), (last_at, last) = self._seen[0], self._seen[-1]
        passed = last_at - first_at
        return None if passed < SHORTEST_SECONDS else (last - first) / passed

    def seconds_left(self, items: int) -> float | None:
        """Return how long so many items will take at this pace; None where none ended lately."""
        return items / self.per_second if self.per_second else None
