"""Keys that were seen before, in little memory: 64 bits of each, in one flat table."""

from array import array

FIRST_SLOTS = 1 << 12
MOST_SLOTS = 1 << 23
"""64 MB, for five million keys; more are not remembered."""

FULL_SHARE = 0.6
MASK = (1 << 64) - 1


class Seen:
    """A set of keys that only grows.

    That two of five million keys have the same 64 bits happens in one of a million files.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * FIRST_SLOTS))
        self._count = 0

    def add(self, key: object) -> bool:
        """Remember a key; False when it was seen before."""
        mark = (hash(key) & MASK) or 1
        place = self._find(self._slots, mark)
        if self._slots[place] == mark:
            return False
        if self._count < FULL_SHARE * len(self._slots):
            self._slots[place] = mark
            self._count += 1
        elif len(self._slots) < MOST_SLOTS:
            self._grow()
            return self.add(key)
        return True

    def _grow(self) -> None:
        larger = array("Q", bytes(16 * len(self._slots)))
        for mark in self._slots:
            if mark:
                larger[self._find(larger, mark)] = mark
        self._slots = larger

    @staticmethod
    def _find(slots: "array[int]", mark: int) -> int:
        """Return where a mark is, or the free slot where it belongs."""
        last = len(slots) - 1
        place = (mark * 0x9E3779B97F4A7C15 >> 20) & last
        while slots[place] not in (0, mark):
            place = (place + 1) & last
        return place
