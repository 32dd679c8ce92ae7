"""Calls about what lists mean to a team, and when and whom it calls."""

from collections.abc import Mapping, Sequence

from batchyard.client.shapes import Proposed, Rules, SavedMapping
from batchyard.client.transport import Transport, rows_of, segment


class RuleCalls(Transport):
    """Everything under `/mappings`, and `/contacts/rules`."""

    async def mappings(self, *, kind: str | None = None) -> list[SavedMapping]:
        """Return the saved mappings, of a kind or all."""
        page = await self.request("GET", "/mappings", params={"kind": kind})
        return [SavedMapping.model_validate(row) for row in rows_of(page)]

    async def save_mapping(
        self,
        kind: str,
        name: str,
        mapping: Mapping[str, str | None],
        *,
        header: Sequence[str] | None = None,
    ) -> None:
        """Keep what columns mean under a name; with a header it is offered when that comes."""
        body = {"mapping": dict(mapping), "header": None if header is None else list(header)}
        await self.request("PUT", f"/mappings/{kind}/{segment(name)}", body=body)

    async def remove_mapping(self, kind: str, name: str) -> None:
        """Forget a mapping."""
        await self.request("DELETE", f"/mappings/{kind}/{segment(name)}")

    async def propose_mapping(self, kind: str, header: Sequence[str]) -> Proposed:
        """Return what the columns of a header seem to mean; nothing is kept."""
        body = {"kind": kind, "header": list(header)}
        return Proposed.model_validate(await self.request("POST", "/mappings/propose", body=body))

    async def rules(self) -> Rules:
        """Return when and whom the team calls."""
        return Rules.model_validate(await self.request("GET", "/contacts/rules"))

    async def change_rules(self, **changes: object) -> Rules:
        """Change the rules, by the fields of `PATCH /contacts/rules`."""
        return Rules.model_validate(await self.request("PATCH", "/contacts/rules", body=changes))
