"""The shapes clients send (contract, sections 3 and 4); a shipment's is shared with files."""

from typing import Annotated

from pydantic import Field, SkipValidation
from pydantic_core import PydanticCustomError

from batchyard.api.smartsend.messages import Message
from batchyard.intake.shipment_shape import Shape, Shipment, Text


def fault(message: Message) -> PydanticCustomError:
    """Return an error whose type names one of our messages."""
    return PydanticCustomError(message.name, "{text}", {"text": message.value})


class NewBatch(Shape):
    """A batch to be made."""

    reference: Text | None = None
    identifier: Text | None = None


class NewShipments(Shape):
    """Shipments to be added; each is checked by itself, so that faults of many stay cheap."""

    data: Annotated[list[SkipValidation[Shipment]], Field(min_length=1, max_length=1000)]
