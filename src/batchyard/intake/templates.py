"""Lists to start from: the columns of each kind, with a row that would be taken."""

from collections.abc import Mapping

from batchyard.intake.exports import render_csv
from batchyard.intake.flat import list_columns
from batchyard.models import Kind

EXAMPLES: Mapping[Kind, Mapping[str, str]] = {
    Kind.CALL: {
        "contact_number": "+4520123456",
        "first_name": "Linnéa",
        "last_name": "Åkesson",
        "appointment": "2026-12-16 14:30",
    },
    Kind.SHIPMENT: {
        "reference": "WEB-24001",
        "currency": "DKK",
        "delivery.carrier": "postnord",
        "delivery.service": "home",
        "parties.receiver.contact.name_lines.0": "Linnéa Åkesson",
        "parties.receiver.contact.company": "",
        "parties.receiver.contact.email": "linnea@example.com",
        "parties.receiver.contact.phone": "+4520123456",
        "parties.receiver.address.address_lines.0": "Kongevej 52",
        "parties.receiver.address.address_lines.1": "",
        "parties.receiver.address.postal_code": "2000",
        "parties.receiver.address.city": "Frederiksberg",
        "parties.receiver.address.country": "DK",
        "parcels.0.gross_weight": "540",
    },
}
"""The usual columns; calls take any others as variables."""


def render_template(kind: Kind, *, is_complete: bool = False) -> bytes:
    """Return a CSV with the usual columns, or with every column there is, and one row."""
    example = dict(EXAMPLES[kind])
    if is_complete and kind is Kind.SHIPMENT:
        example |= {column: "" for column in list_columns() if column not in example}
    return render_csv([list(example), list(example.values())])
