"""How long a team keeps what, as SQL: by what it has set at that moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


def since(what: str) -> str:
    """Return the time before which something is kept for too long, as an expression.

    It asks for `now`, `team_id` and `default_days`, which are those of a team that has set none.
    """
    return f"""
(%(now)s::timestamptz - interval '24 hours' * coalesce(
    (SELECT {what}_days FROM retention WHERE team_id = %(team_id)s), %(default_days)s))
""".strip()


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """What is taken out of a team, and after how many days unless it has set others.

    They may be raised while much is taken out; then the rest stays.
    """

    team_id: int
    what: str
    default_days: int

    def values(self, now: datetime) -> Mapping[str, object]:
        """Return what `since` asks for, and `what`."""
        return {
            "team_id": self.team_id,
            "what": self.what,
            "default_days": self.default_days,
            "now": now,
        }
