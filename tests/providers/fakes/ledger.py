"""What a fake did, counted by what it was done for: the judge of "never twice"."""

import base64
from collections import Counter
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit
from uuid import UUID

MOST_ASKED = 10


@dataclass(kw_only=True, slots=True)
class Deed:
    """What is known of one key."""

    item: str
    kind: str = "call"
    policy: str = "askable"
    effects: int = 0
    requests: int = 0
    status: str | None = None
    """How it ended; None as long as it has not."""
    faults: list[str] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class Ledger:
    """Every deed, what was told of it, and where the vendor's specification was broken."""

    policy: str = "askable"
    deeds: dict[str, Deed] = field(default_factory=dict)
    callbacks: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    asked: list[object] = field(default_factory=list)
    """The bodies of the latest requests for a call."""

    def note(self, body: object) -> None:
        """Keep what was asked for."""
        self.asked = [*self.asked[1 - MOST_ASKED :], body]

    def deed(self, callback_url: str) -> Deed:
        """Return the deed of the key that an address of ours carries."""
        item, attempt = read_key(callback_url)
        key = f"{item}.{attempt}"
        return self.deeds.setdefault(key, Deed(item=item, policy=self.policy))

    def tell(self) -> dict[str, object]:
        """Return all of it as JSON can have it."""
        items: Counter[str] = Counter()
        for deed in self.deeds.values():
            items[deed.item] += deed.effects
        return {
            "deeds": {key: asdict(deed) for key, deed in self.deeds.items()},
            "items": items,
            "callbacks": self.callbacks,
            "requests": self.requests,
            "violations": self.violations,
            "asked": self.asked,
        }


def read_key(callback_url: str) -> tuple[str, int]:
    """Return item and attempt of an address: a fake may read what it cannot make."""
    token = urlsplit(callback_url).path.rsplit("/", 1)[-1]
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    return str(UUID(bytes=raw[:16])), int.from_bytes(raw[16:18], "big")
