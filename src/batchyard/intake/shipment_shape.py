"""What a shipment must look like, whether a door or a file brings it (contract Smart Send, 4)."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from batchyard.intake.codes import countries, currencies
from batchyard.models import JsonObject
from batchyard.store.ids import new_id

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""

Offer = Mapping[str, Collection[str]]
"""The services of each carrier that a shipment may be sent by."""

FAULTS = {
    "NUL": "This must not contain the character NUL.",
    "NO_CURRENCY": "This is no currency code of ISO 4217.",
    "NO_COUNTRY": "This is no country code of ISO 3166-1 alpha-2.",
    "NO_PHONE": "This is no phone number in E.164 form, such as +4512345678.",
    "NO_CARRIER": "There is no such carrier.",
    "NO_SERVICE": "The carrier has no such service.",
}
"""By the type of the error; doors translate by it."""


def fault(kind: str) -> PydanticCustomError:
    """Return one of our own errors."""
    return PydanticCustomError(kind, "{text}", {"text": FAULTS[kind]})


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise fault("NUL")
    return text


def _one_of(codes: Callable[[], frozenset[str]], kind: str) -> Callable[[str], str]:
    def check(code: str) -> str:
        if code not in codes():
            raise fault(kind)
        return code

    return check


def _listed(codes: Callable[[], frozenset[str]], standard: str) -> Any:  # noqa: ANN401  # as Field
    """Name all codes in the document of a door."""

    def extend(schema: dict[str, Any]) -> None:
        schema |= {"enum": sorted(codes()), "description": standard}

    return Field(json_schema_extra=extend)


def _phone(text: str) -> str:
    if not E164.fullmatch(text):
        raise fault("NO_PHONE")
    return text


def _whole(number: float) -> int | float:
    # 1200.0 goes back to the client as the 1200 it most likely sent.
    return int(number) if number.is_integer() and number <= MAX_INTEGER else number


def _integer(number: object) -> object:
    # JSON does not tell 5 from 5.0, and some clients write one for the other.
    return int(number) if isinstance(number, float) and number.is_integer() else number


_NO_NUL = Field(json_schema_extra={"pattern": r"^[^\x00]*$"})
Text = Annotated[str, Field(max_length=255), AfterValidator(_no_nul), _NO_NUL]
Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_no_nul), _NO_NUL]
Uri = Annotated[str, Field(max_length=2048), AfterValidator(_no_nul), _NO_NUL]
Lines = Annotated[list[Text], Field(min_length=1, max_length=4)]
Phone = Annotated[
    str, AfterValidator(_phone), Field(json_schema_extra={"pattern": f"^{E164.pattern}$"})
]
Currency = Annotated[
    str, AfterValidator(_one_of(currencies, "NO_CURRENCY")), _listed(currencies, "ISO 4217")
]
Country = Annotated[
    str, AfterValidator(_one_of(countries, "NO_COUNTRY")), _listed(countries, "ISO 3166-1 alpha-2")
]
Amount = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER), BeforeValidator(_integer)]
Quantity = Annotated[int, Field(ge=1, le=MAX_INTEGER), BeforeValidator(_integer)]
Measure = Annotated[float, Field(gt=0), PlainSerializer(_whole, when_used="json")]
Incoterm = Literal["EXW", "FCA", "CPT", "CIP", "DAP", "DPU", "DDP", "FAS", "FOB", "CFR", "CIF"]


class Shape(BaseModel):
    """What all shapes have in common: no conversions, unknown keys ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, frozen=True)


class Addon(Shape):
    """Something a delivery has besides."""

    code: Name


class Delivery(Shape):
    """How a shipment travels; the context of the validation is the `Offer`."""

    carrier: Name
    service: Name
    addons: Annotated[list[Addon] | None, Field(max_length=100)] = None
    incoterm: Incoterm | None = None

    @field_validator("carrier")
    @classmethod
    def _is_carrier(cls, code: str, info: ValidationInfo) -> str:
        if info.context is not None and code not in info.context:
            raise fault("NO_CARRIER")
        return code

    @field_validator("service")
    @classmethod
    def _is_service(cls, code: str, info: ValidationInfo) -> str:
        offer: Offer = info.context or {}
        carrier = info.data.get("carrier", "")
        if carrier in offer and code not in offer[carrier]:
            raise fault("NO_SERVICE")
        return code


class Address(Shape):
    """A place."""

    address_lines: Lines
    postal_code: Text | None = None
    city: Name
    country: Country
    administrative_area: Text | None = None


class Contact(Shape):
    """A person or company."""

    name_lines: Lines
    company: Text | None = None
    email: Text | None = None
    phone: Phone | None = None


class Identifiers(Shape):
    """Numbers by which authorities know a party."""

    vat: Text | None = None
    eori: Text | None = None
    gb_eori: Text | None = None
    tax_id: Text | None = None
    voec: Text | None = None


class Receiver(Shape):
    """To whom a shipment goes."""

    reference: Text | None = None
    identifier: Text | None = None
    uri: Uri | None = None
    address: Address
    contact: Contact
    identifiers: Identifiers | None = None


class Pickup(Shape):
    """Where the receiver fetches a shipment."""

    service_point_code: Text | None = None
    company: Text | None = None
    address: Address | None = None


class Parties(Shape):
    """Who takes part; the sender is the team's."""

    receiver: Receiver
    pickup: Pickup | None = None


class Strict(Shape):
    """Of what people write by hand: a key that means nothing is a fault."""

    model_config = ConfigDict(extra="forbid")


class SenderAddress(Address, Strict):
    """The place that shipments come from."""


class SenderContact(Contact, Strict):
    """Who sends them."""


class SenderIdentifiers(Identifiers, Strict):
    """Numbers by which authorities know who sends them."""


class Party(Strict):
    """Somebody with an address."""

    address: SenderAddress
    contact: SenderContact


class Sender(Party):
    """From where a team sends; `parties.sender` of a shipment as its provider is given it."""

    identifiers: SenderIdentifiers | None = None
    return_to: Party | None = None
    """Where parcels go that cannot be delivered, if that is elsewhere."""


class Item(Shape):
    """Goods of one kind in a parcel."""

    sku: Text | None = None
    description: Name
    quantity: Quantity
    net_weight: Measure | None = None
    """Of one piece."""
    unit_net_amount: Amount | None = None
    country_of_origin: Country | None = None
    hs_code: Text | None = None


class Parcel(Shape):
    """One package."""

    reference: Text | None = None
    identifier: Text | None = None
    tracking_url: Text | None = None
    freetext: Text | None = None
    gross_weight: Measure | None = None
    length: Measure | None = None
    width: Measure | None = None
    height: Measure | None = None
    total_net_amount: Amount | None = None
    tax_amount: Amount | None = None
    duty_amount: Amount | None = None
    items: Annotated[list[Item] | None, Field(max_length=1000)] = None


class Shipment(Shape):
    """A shipment to be booked; amounts are integers in minor units of its currency."""

    currency: Currency
    weight_unit: Literal["g", "kg", "lb", "oz"] = "g"
    dimension_unit: Literal["mm", "cm", "m", "in"] = "cm"
    invoice_number: Text | None = None
    reference: Text | None = None
    identifier: Text | None = None
    uri: Uri | None = None
    delivery: Delivery
    parties: Parties
    parcels: Annotated[list[Parcel], Field(min_length=1, max_length=99)]
    total_net_amount: Amount | None = None
    tax_amount: Amount | None = None
    duty_amount: Amount | None = None
    shipping_net_amount: Amount | None = None
    shipping_tax_amount: Amount | None = None


def stored(shipment: Shipment) -> JsonObject:
    """Return a checked shipment as its item keeps it: each parcel with an id of its own."""
    payload = shipment.model_dump(mode="json")
    payload["parcels"] = [{"uuid": str(new_id()), **parcel} for parcel in payload["parcels"]]
    return payload
