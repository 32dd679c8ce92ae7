"""The shapes clients get, for the OpenAPI document; a test holds the answers against them."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from batchyard.intake.shipment_shape import Incoterm, Parcel, Shipment

BatchState = Literal["open", "queued", "processing", "completed", "failed"]
EXAMPLE_ID = "0198c2f0-5d0e-7c3a-9a54-1f6f0d2b7c11"

ShipmentState = Literal["open", "queued", "processing", "booked", "failed", "cancelled"]


class Answer(BaseModel):
    """What all answers have in common: no other keys."""

    model_config = ConfigDict(extra="forbid")


class Batch(Answer):
    """A batch; `progress` is a percentage."""

    uuid: UUID = Field(examples=[EXAMPLE_ID])
    state: BatchState
    reference: str | None = Field(examples=["Orders of Monday"])
    identifier: str | None
    total_count: int
    completed_count: int
    failed_count: int
    progress: int = Field(ge=0, le=100)
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Meta(Answer):
    """Which part of a list this is."""

    current_page: int
    per_page: int
    total: int
    last_page: int
    from_: int | None = Field(alias="from")
    to: int | None


class Service(Answer):
    """A service of a carrier; names are in the answer's language."""

    service_code: str = Field(examples=["home"])
    service_name: str = Field(examples=["Home delivery"])
    carrier_code: str = Field(examples=["postnord"])
    carrier_name: str = Field(examples=["PostNord"])
    carrier_logo_url: str | None
    carrier_icon_url: str | None
    is_pickup: bool
    is_return: bool


class NamedAddon(Answer):
    """An add-on of a delivery."""

    code: str
    name: str


class ShownDelivery(Service):
    """How a shipment travels."""

    incoterm: Incoterm | None
    addons: list[NamedAddon]


class ShownParcel(Parcel):
    """A package; the tracking is there once it is booked."""

    uuid: UUID
    tracking_code: str | None


class PlainShipment(Shipment):
    """A shipment without what went wrong."""

    uuid: UUID = Field(examples=[EXAMPLE_ID])
    state: ShipmentState
    delivery: ShownDelivery  # type: ignore[assignment]  # answered in another shape than sent
    parcels: list[ShownParcel]  # type: ignore[assignment]  # as above


class BookingError(Answer):
    """Why a shipment failed."""

    code: str
    message: str
    retryable: bool
    at: datetime


class ShownShipment(PlainShipment):
    """A shipment with what went wrong."""

    errors: list[BookingError]


class OneBatch(Answer):
    """One batch."""

    data: Batch


class Batches(Answer):
    """A page of batches, newest first."""

    data: list[Batch]
    meta: Meta


class AddedShipments(Answer):
    """What was added, in the order it was sent; with `handling=lenient`, why the rest was not."""

    data: list[PlainShipment]
    errors: dict[str, list[str]] = Field(default_factory=dict)


class OnePlainShipment(Answer):
    """One shipment that was made or booked."""

    data: PlainShipment


class PlainShipments(Answer):
    """A page of all shipments of the team."""

    data: list[PlainShipment]
    meta: Meta


class OneShipment(Answer):
    """One shipment with what went wrong."""

    data: ShownShipment


class Shipments(Answer):
    """A page of shipments in the order of the batch."""

    data: list[ShownShipment]
    meta: Meta


class Operation(Answer):
    """A booking that goes on in the background."""

    uuid: UUID = Field(examples=[EXAMPLE_ID])
    state: Literal["pending", "running", "succeeded", "failed"]
    resource_url: str
    created_at: datetime
    finished_at: datetime | None
    errors: list[BookingError]


class OneOperation(Answer):
    """One operation."""

    data: Operation


class Document(Answer):
    """A file of a shipment; the address is signed and expires."""

    uuid: UUID = Field(examples=[EXAMPLE_ID])
    kind: Literal["label", "customs"]
    format: Literal["pdf", "zpl"]
    url: str


class Documents(Answer):
    """The files of a shipment, parcel by parcel."""

    data: list[Document]


class Services(Answer):
    """Everything a shipment can be sent by."""

    data: list[Service]


class Done(Answer):
    """A sentence in the answer's language."""

    message: str = Field(examples=["The batch was cancelled."])


class Invalid(Answer):
    """Every fault under the dotted path of its place."""

    message: str
    errors: dict[str, list[str]]
