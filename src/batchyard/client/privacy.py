"""Calls about what is kept of people, and for how long."""

from pydantic import TypeAdapter

from batchyard.client.shapes import Erased, Values
from batchyard.client.transport import Transport

DAYS = TypeAdapter(dict[str, int])
FOUND = TypeAdapter(dict[str, list[Values]])
SEARCH_SECONDS = 900.0
"""How long it may take to look for a person in all that a team has."""


class PrivacyCalls(Transport):
    """Everything under `/privacy` and `/retention`."""

    async def export_person(
        self, *, number: str | None = None, email: str | None = None
    ) -> dict[str, list[Values]]:
        """Return all that is stored about a person, by kind; a number or an e-mail address."""
        return FOUND.validate_python(
            await self.request(
                "POST",
                "/privacy/export",
                body={"number": number, "email": email},
                work_seconds=SEARCH_SECONDS,
            )
        )

    async def erase_person(
        self,
        *,
        number: str | None = None,
        email: str | None = None,
        keep_do_not_contact: bool = False,
    ) -> Erased:
        """Erase a person everywhere; may be repeated.

        Raises `httpx.ReadTimeout` where that takes very long; the server goes on with it.
        """
        body = {"number": number, "email": email, "keep_do_not_contact": keep_do_not_contact}
        return Erased.model_validate(
            await self.request("POST", "/privacy/erase", body=body, work_seconds=SEARCH_SECONDS)
        )

    async def retention(self) -> dict[str, int]:
        """Return for how many days the team keeps what."""
        return DAYS.validate_python(await self.request("GET", "/retention"))

    async def set_retention(self, **days: int | None) -> dict[str, int]:
        """Set all days, by the fields of `PUT /retention`; what is not named takes the default."""
        return DAYS.validate_python(await self.request("PUT", "/retention", body=days))

    async def change_retention(self, **days: int | None) -> dict[str, int]:
        """Change some of the days, by the same names; None takes the default, the others stay."""
        return DAYS.validate_python(await self.request("PATCH", "/retention", body=days))
