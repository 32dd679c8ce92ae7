"""Calls about the team itself: its agents, numbers, sender, contacts, its audit log."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from uuid import UUID

from batchyard.client.shapes import Agent, AuditEntry, DoNotContact, Number, Team
from batchyard.client.transport import OBJECT, ApiError, Transport, Values, rows_of, segment

PAGE = 500


class TeamCalls(Transport):
    """What belongs to the team, not to a batch."""

    async def team(self) -> Team:
        """Return the team of the token, and what the token may do."""
        return Team.model_validate(await self.request("GET", "/team"))

    async def agents(self) -> list[Agent]:
        """Return the team's agents, the oldest first."""
        return [Agent.model_validate(r) for r in rows_of(await self.request("GET", "/agents"))]

    async def create_agent(self, name: str) -> UUID:
        """Make an agent that has a name so far; return its id."""
        return UUID(str((await self.request("POST", "/agents", body={"name": name}))["id"]))

    async def audit(self, *, page: int = PAGE) -> AsyncIterator[AuditEntry]:
        """Yield who changed what, the newest first; so many are asked for at a time."""
        before_id: int | None = None
        while True:
            told = await self.request(
                "GET", "/audit", params={"before_id": before_id, "limit": page}
            )
            entries = [AuditEntry.model_validate(row) for row in rows_of(told)]
            for entry in entries:
                yield entry
            if len(entries) < page:
                return
            before_id = entries[-1].id

    async def numbers(self) -> list[Number]:
        """Return the numbers the team calls from."""
        return [Number.model_validate(r) for r in rows_of(await self.request("GET", "/numbers"))]

    async def add_numbers(
        self, numbers: Sequence[str], *, agent_id: UUID | None = None
    ) -> list[Number]:
        """Let the team call from numbers, all or none; return all it has then."""
        body = {
            "numbers": list(numbers),
            "agent_id": None if agent_id is None else str(agent_id),
        }
        page = await self.request("POST", "/numbers", body=body)
        return [Number.model_validate(row) for row in rows_of(page)]

    async def remove_number(self, number: str) -> None:
        """Take a number away; batches that were given it keep it."""
        await self.request("DELETE", f"/numbers/{segment(number)}")

    async def sender(self) -> Values | None:
        """Return where the team sends its shipments from; None until that was said."""
        try:
            told = await self.request("GET", "/sender")
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return OBJECT.validate_python(told["sender"])

    async def set_sender(self, sender: Values) -> Values:
        """Set where the team sends its shipments from."""
        told = await self.request("PUT", "/sender", body=sender)
        return OBJECT.validate_python(told["sender"])

    async def do_not_contact(self) -> AsyncIterator[DoNotContact]:
        """Yield the numbers that are not contacted, in their order."""
        async for row in self.pages("/contacts/do-not-contact", {"limit": 1000}):
            yield DoNotContact.model_validate(row)

    async def block_number(
        self, number: str, *, reason: str | None = None, until: datetime | None = None
    ) -> DoNotContact:
        """Never contact a number, or not until then."""
        body = {
            "number": number,
            "reason": reason,
            "until": None if until is None else until.isoformat(),
        }
        told = await self.request("POST", "/contacts/do-not-contact", body=body)
        return DoNotContact.model_validate(told)

    async def allow_number(self, number: str) -> None:
        """Allow a number again."""
        await self.request("DELETE", f"/contacts/do-not-contact/{segment(number)}")
