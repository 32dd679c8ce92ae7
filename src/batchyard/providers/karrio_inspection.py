"""What can be said of a Karrio server before anything is bought: whose it is, and what it can."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import uuid4

from batchyard.errors import ProviderError
from batchyard.models import JsonObject
from batchyard.providers.base import Service
from batchyard.providers.clock_checks import describe_clock
from batchyard.providers.karrio_server import REQUEST_ID, TEST_MODE, KarrioServer, read_success
from batchyard.providers.karrio_settings import KarrioSettings, Mode
from batchyard.providers.karrio_shapes import object_at
from batchyard.providers.karrio_voids import VOIDS_NOTHING
from batchyard.providers.shipment_labels import text_at

TESTED_VERSION = "2026.1.32"

LOUDLY = {
    Mode.TEST: "TEST mode: nothing real is bought.",
    Mode.LIVE: "LIVE mode: every booking buys a real label.",
}


async def check(
    server: KarrioServer, settings: KarrioSettings, *, seconds: float, now: Callable[[], datetime]
) -> Sequence[str]:
    """Look at version, key, mode, connections and clock; return remarks.

    Raises `ProviderError`.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    about = await server.read("/", deadline=deadline)
    version = text_at(about, "VERSION")
    if not version:
        raise ProviderError("This is no Karrio server: it names no version.", permanent=True)
    request_id = str(uuid4())
    probe = await server.get(
        "/v1/connections",
        params={"active": "true", "limit": "1"},
        request_id=request_id,
        deadline=deadline,
    )
    answered_at = now()
    read_success(probe)
    mode = _mode(probe.headers)
    if mode is not None and mode is not settings.mode:
        raise ProviderError(
            f"The API key is for {mode} mode, but the provider is set to {settings.mode}: nothing "
            f"would be bought. Take another key, or say --set mode={mode}.",
            permanent=True,
        )
    remarks = [LOUDLY[settings.mode], f"Karrio {version}; {_compare(version)}."]
    if mode is None:
        remarks.append("The server does not say which mode the key is for; each draft is checked.")
    if probe.headers.get(REQUEST_ID) != request_id:
        remarks.append(
            "Something changes X-Request-ID on its way: after a restore a booking cannot be found "
            "by its key."
        )
    connections = [one async for one in server.list_connections(deadline=deadline)]
    return [*remarks, *_describe(connections), describe_clock(probe, now=answered_at)]


async def list_services(server: KarrioServer, *, seconds: float) -> Sequence[Service]:
    """List what the active connections book; raise `ProviderError`.

    A connection is named by its `carrier_id`, or by its id where two have the same.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    connections = [one async for one in server.list_connections(deadline=deadline)]
    named = Counter(text_at(one, "carrier_id") for one in connections)
    known: dict[str, Sequence[str]] = {}
    services: list[Service] = []
    for connection in connections:
        carrier, type_ = text_at(connection, "carrier_id"), text_at(connection, "carrier_name")
        if type_ not in known:
            told = await server.read(f"/v1/carriers/{type_}/services", deadline=deadline)
            known[type_] = list(told)
        code = carrier if named[carrier] == 1 else text_at(connection, "id")
        name = text_at(connection, "display_name") or carrier
        services += [
            Service(
                carrier=code,
                service=service,
                carrier_name=name,
                service_name=service.replace("_", " ").capitalize(),
            )
            for service in _offered(connection, known[type_])
        ]
    return services


def _offered(connection: JsonObject, known: Sequence[str]) -> Sequence[str]:
    """Return the services of a connection: some of its carrier's, where it is restricted."""
    chosen = object_at(connection, "config").get("shipping_services")
    if not isinstance(chosen, list) or not chosen:
        return known
    return [one for one in chosen if isinstance(one, str)]


def _mode(headers: Mapping[str, str]) -> Mode | None:
    told = headers.get(TEST_MODE, "").lower()
    return {"true": Mode.TEST, "false": Mode.LIVE}.get(told)


def _compare(version: str) -> str:
    if version == TESTED_VERSION:
        return "the version that was tested"
    return f"tested with {TESTED_VERSION}"


def _describe(connections: Sequence[JsonObject]) -> list[str]:
    if not connections:
        return ["No active connection can ship: connect a carrier in Karrio."]
    named = [f"{text_at(c, 'carrier_id')} ({text_at(c, 'carrier_name')})" for c in connections]
    remarks = [f"Connections: {', '.join(named)}."]
    silent = [
        name
        for name, one in zip(named, connections, strict=True)
        if text_at(one, "carrier_name") in VOIDS_NOTHING
    ]
    if silent:
        remarks.append(f"Cancelling in Karrio does not tell the carrier of {', '.join(silent)}.")
    return remarks
