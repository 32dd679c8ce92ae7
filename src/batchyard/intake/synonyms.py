"""What people call the columns we look for; `docs/files.md` has the table."""

import re
import unicodedata
from collections.abc import Mapping

from batchyard.models import Kind

NUMBER_COLUMN = "contact_number"

PHONES = (
    "phone",
    "phone_number",
    "phone_no",
    "phonenumber",
    "telephone",
    "telephone_number",
    "tel",
    "tel_no",
    "tlf",
    "tlf_nr",
    "telefon",
    "telefonnummer",
    "telefono",
    "mobile",
    "mobile_number",
    "mobile_phone",
    "mobil",
    "mobilnummer",
    "cell",
    "cell_phone",
    "cellphone",
    "msisdn",
    "number",
    "contact",
    "recipient_phone_number",
    "to",
)

_RECEIVER = "parties.receiver"

SYNONYMS: Mapping[Kind, Mapping[str, tuple[str, ...]]] = {
    Kind.CALL: {NUMBER_COLUMN: PHONES},
    Kind.SHIPMENT: {
        "currency": ("currency_code", "valuta"),
        "reference": ("order", "order_number", "order_no", "ordernr", "ref"),
        "delivery.carrier": ("carrier", "carrier_code", "transporter"),
        "delivery.service": ("service", "service_code", "product"),
        f"{_RECEIVER}.contact.name_lines.0": (
            "name",
            "receiver",
            "receiver_name",
            "recipient",
            "full_name",
            "navn",
            "namn",
        ),
        f"{_RECEIVER}.contact.company": ("company", "company_name", "firma"),
        f"{_RECEIVER}.contact.email": ("email", "e_mail", "mail"),
        f"{_RECEIVER}.contact.phone": PHONES,
        f"{_RECEIVER}.address.address_lines.0": (
            "address",
            "address_1",
            "address1",
            "address_line_1",
            "street",
            "adresse",
            "adress",
            "strasse",
        ),
        f"{_RECEIVER}.address.address_lines.1": ("address_2", "address2", "address_line_2"),
        f"{_RECEIVER}.address.postal_code": (
            "postal_code",
            "postcode",
            "post_code",
            "zip",
            "zip_code",
            "zipcode",
            "postnr",
            "postnummer",
            "plz",
        ),
        f"{_RECEIVER}.address.city": ("city", "town", "by", "ort", "stad", "poststed"),
        f"{_RECEIVER}.address.country": ("country", "country_code", "land"),
        "parcels.0.gross_weight": ("weight", "gross_weight", "weight_g", "vaegt", "vikt"),
        "parcels.0.length": ("length",),
        "parcels.0.width": ("width",),
        "parcels.0.height": ("height",),
    },
}
"""By what a column means, most usual first; the first one found is taken."""

_LETTERS = str.maketrans({"æ": "ae", "ø": "o", "ß": "ss", "đ": "d", "ł": "l"})
_BETWEEN = re.compile(r"(?:[^a-z0-9.]|\.(?![a-z0-9])|(?<![a-z0-9])\.)+")
"""A dot within a name belongs to it, one that ends a word does not."""


def plain(name: str) -> str:
    """Return a column's name without case, accents, blanks and signs, as synonyms are compared."""
    folded = unicodedata.normalize("NFKD", name.casefold().translate(_LETTERS))
    letters = "".join(one for one in folded if not unicodedata.combining(one))
    return _BETWEEN.sub("_", letters).strip("_.")
