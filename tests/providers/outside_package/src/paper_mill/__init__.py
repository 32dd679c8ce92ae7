"""Books shipments by writing them on a sheet of paper: one line of a file for each."""

import json
from pathlib import Path

from batchyard.errors import ConfigError
from batchyard.models import Answer, Ended, Finding, Kind, NotReceived, Policy, Request
from batchyard.providers.base import Promise, Provider, Surroundings


class PaperMill(Provider):
    """Setting `sheet`: the file to write on. It can always be read again, so it can be asked."""

    kinds = frozenset({Kind.SHIPMENT})
    concurrency = 10

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        sheet = self.settings.get("sheet")
        if not isinstance(sheet, str):
            raise ConfigError(
                f"Provider '{self.name}' needs the setting sheet: a file to write on."
            )
        self._sheet = Path(sheet)

    @property
    def promise(self) -> Promise:
        """Askable: what was written can be read."""
        return Promise(policy=Policy.ASKABLE, is_askable=True)

    async def send(self, request: Request) -> Answer:
        """Write the shipment down."""
        with self._sheet.open("a", encoding="utf-8") as sheet:
            sheet.write(json.dumps({"key": request.key, "payload": request.payload}) + "\n")
        return self._booked(request)

    async def ask(self, request: Request) -> Finding:
        """Look for the shipment on the sheet."""
        if not self._sheet.exists():
            return NotReceived()
        lines = self._sheet.read_text(encoding="utf-8").splitlines()
        if any(json.loads(line)["key"] == request.key for line in lines):
            return self._booked(request)
        return NotReceived()

    def _booked(self, request: Request) -> Ended:
        parcels = [{"tracking_code": f"PAPER-{request.item_id.hex[-8:]}"}]
        return Ended(status="booked", result={"parcels": parcels}, reference=request.key)
