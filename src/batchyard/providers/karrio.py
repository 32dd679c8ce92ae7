"""The `karrio` provider: shipments through any carrier that a Karrio server is connected to.

Two steps: a draft with rates, which buys nothing, then its purchase, once. Between the two the
draft's id is committed, so after a crash it is known which draft may have been bought.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from batchyard.errors import InvalidRequest, ProviderError
from batchyard.models import (
    Accepted,
    Answer,
    Document,
    Ended,
    Finding,
    JsonObject,
    Kind,
    Lost,
    NotReceived,
    Refused,
    Request,
)
from batchyard.providers import http_documents, karrio_inspection, karrio_voids
from batchyard.providers.base import Promise, Provider, Service, Surroundings, Voided
from batchyard.providers.http_answers import Booked
from batchyard.providers.http_exchange import AnswerLost, NotSent, Reply
from batchyard.providers.in_flight import InFlight
from batchyard.providers.karrio_answers import (
    NOT_PROVEN,
    SHIPMENT_ID,
    Bought,
    LookFirst,
    describe_offer,
    fault_of_draft,
    is_of_key,
    is_of_other_attempt,
    is_unbought,
    judge,
    read_object,
    read_purchase,
    stop,
)
from batchyard.providers.karrio_bookings import (
    document_of,
    documents_of,
    held_documents,
    missing_documents,
    needed_documents,
    result_of,
)
from batchyard.providers.karrio_orders import find_rate, order_of
from batchyard.providers.karrio_server import REQUEST_ID, KarrioServer, read_success
from batchyard.providers.karrio_settings import (
    KarrioSettings,
    Mode,
    read_key,
    read_services,
    read_settings,
)
from batchyard.providers.karrio_shapes import Unbookable, objects_of
from batchyard.providers.shipment_labels import parcels_of, text_at

DRAFT_TRIES = 5
"""So often a draft is tried whose answers are lost; then something is wrong with the shipment."""

MOST_FAILURES = 10_000
"""Shipments whose lost drafts are remembered."""

MOST_FOUND = 10
"""Shipments of one key that are looked at; there is one for each time its draft was made."""

Proven = TypeVar("Proven")


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """What can be bought: nothing was bought yet."""

    id: str
    rate_id: str
    doubt: str = ""
    """What must be said should the answer of the purchase be lost."""


class KarrioProvider(Provider):
    """One Karrio server, by one API key."""

    kinds = frozenset({Kind.SHIPMENT})
    settings_model = KarrioSettings
    locating_settings = frozenset({"url", "mode"})
    calls_back = False

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._settings = read_settings(self.name, self.settings)
        self.concurrency = self._settings.concurrency
        self._server = KarrioServer(
            self._settings.url,
            read_key(self.name, self.secret),
            allow_private=self.allow_private,
            timeout_seconds=self._settings.longest_seconds,
        )
        self._in_flight = InFlight()
        self._lost_drafts: Counter[str] = Counter()

    @classmethod
    def services(cls, settings: Mapping[str, object]) -> Sequence[Service] | None:
        """Declare what the operator listed; nothing until the server was asked."""
        return read_services(settings) or ()

    @property
    def promise(self) -> Promise:
        """Askable, one-sided."""
        return self._settings.promise

    async def send(self, request: Request) -> Answer:
        """Make a draft, have its id committed, buy it once.

        1. What cannot be booked as it is ends here; nothing was sent.
        2. The draft. Whatever goes wrong, nothing was bought.
        3. The commit of its id. Without it nothing is bought.
        4. The purchase, and what its answer proves.
        """
        if self._in_flight.is_closing:
            return Refused(code="provider_closing", message="The provider's settings change.")
        async with self._in_flight.within(seconds=self.promise.timeout.total_seconds()):
            try:
                order = order_of(request, self._settings)
            except Unbookable as fault:
                return _unbookable(fault)
            made = await self._draft(request, order)
            if not isinstance(made, Draft):
                return await self._conclude(request, made)
            if not await self.keep(request, made.id):
                return Refused(code="claim_lost", message="Another worker has taken the item over.")
            return await self._buy(request, made)

    async def ask(self, request: Request) -> Finding:
        """Find out whether the key was bought: by the id that was kept, else by the request id."""
        async with self._in_flight.within(seconds=self.promise.timeout.total_seconds()):
            if (kept := http_documents.find_kept(request)) is not None:
                return await self._fetch_documents(request, kept)
            if request.reference is not None:
                found = await self._read(request.reference)
                if isinstance(found, Lost):
                    return found
                if not is_of_other_attempt(found, request):
                    return await self._conclude(request, judge(found))
            return await self._search(request)

    async def void(self, reference: str) -> Voided:
        """Cancel a shipment at Karrio, and say whether that reaches its carrier."""
        async with self._in_flight.within(seconds=self._settings.timeout_seconds) as deadline:
            return await karrio_voids.void(self._server, reference, deadline=deadline)

    async def find_services(self) -> Sequence[Service] | None:
        """Ask for the services of each connection, unless the operator listed them."""
        if self._settings.services is not None:
            return None
        return await karrio_inspection.list_services(
            self._server, seconds=self._settings.read_timeout_seconds
        )

    async def check(self) -> Sequence[str]:
        """Look at version, key, mode, connections and clock; buy nothing."""
        return await karrio_inspection.check(
            self._server,
            self._settings,
            seconds=self._settings.read_timeout_seconds,
            now=self.clock,
        )

    async def close(self) -> None:
        """Let what is out come in, take nothing new, then hang up."""
        await self._in_flight.come_in()
        await self._server.close()

    # --- the draft -----------------------------------------------------------------------------

    async def _draft(self, request: Request, order: JsonObject) -> Draft | Bought | Answer:
        try:
            reply = await self._server.post(
                "/v1/shipments",
                order,
                request_id=request.key,
                deadline=self._in(self._settings.draft_timeout_seconds),
            )
        except NotSent as error:
            return Refused(code=error.code, message=error.message)
        except AnswerLost as error:
            return self._try_again(request, error.code, error.message)
        if not reply.is_success:
            fault = fault_of_draft(reply, now=self.clock())
            if isinstance(fault, Lost):
                return self._try_again(request, fault.code, fault.message)
            return fault
        try:
            shipment = read_object(reply)
        except InvalidRequest as error:
            return self._try_again(request, "answer_unreadable", error.message)
        return self._read_draft(request, reply, shipment)

    def _read_draft(
        self, request: Request, reply: Reply, shipment: JsonObject
    ) -> Draft | Bought | Answer:
        draft_id = text_at(shipment, "id")
        if SHIPMENT_ID.fullmatch(draft_id) is None or not is_of_key(shipment, request.key):
            return self._try_again(
                request, "answer_unreadable", "The answer is no draft of this shipment."
            )
        verdict = judge(shipment)
        if isinstance(verdict, Bought) or verdict.code != NOT_PROVEN:
            # Asked for a draft it bought: some rule of the server does that.
            return verdict
        if fault := self._fault_of_mode(shipment):
            return stop("wrong_mode", fault)
        self._lost_drafts.pop(request.key, None)
        rate_id = find_rate(shipment, request.payload)
        if rate_id is None:
            message = f"The carrier does not offer this service here. {describe_offer(shipment)}"
            return Ended(status="failed", error_code="service_unavailable", error_message=message)
        return Draft(id=draft_id, rate_id=rate_id, doubt=_doubt(request, reply, shipment))

    def _fault_of_mode(self, shipment: JsonObject) -> str | None:
        mode = Mode.TEST if shipment.get("test_mode") is True else Mode.LIVE
        if mode is self._settings.mode:
            return None
        return (
            f"The API key is for {mode} mode, the provider is set to {self._settings.mode}. "
            "Nothing was bought."
        )

    def _try_again(self, request: Request, code: str, message: str) -> Refused | Ended:
        """Have a draft made again whose answer was lost, but not for ever: nothing was bought."""
        if len(self._lost_drafts) >= MOST_FAILURES:
            self._lost_drafts.clear()
        self._lost_drafts[request.key] += 1
        if self._lost_drafts[request.key] < DRAFT_TRIES:
            return Refused(code=code, message=message)
        del self._lost_drafts[request.key]
        return Ended(
            status="failed",
            result={"retryable": True},
            error_code="draft_failed",
            error_message=f"{DRAFT_TRIES} times no draft came about; nothing was bought. {message}",
        )

    # --- the purchase --------------------------------------------------------------------------

    async def _buy(self, request: Request, draft: Draft) -> Answer:
        body = {
            "selected_rate_id": draft.rate_id,
            # Karrio forgets it between the steps and would print a PDF.
            "label_type": self._settings.label.upper(),
        }
        if reference := text_at(request.payload, "reference"):
            body["reference"] = reference
        try:
            reply = await self._server.post(
                f"/v1/shipments/{draft.id}/purchase",
                body,
                request_id=request.key,
                deadline=self._in(self._settings.timeout_seconds),
            )
        except NotSent as error:
            return Refused(code=error.code, message=error.message)
        except AnswerLost as error:
            return Lost(code=error.code, message=f"{error.message}{draft.doubt}")
        doubt = draft.doubt or _doubt_of_purchase(request, draft, reply)
        proven = read_purchase(
            reply,
            parcels=len(parcels_of(request.payload)),
            strict=self._settings.strict,
            now=self.clock(),
        )
        if isinstance(proven, LookFirst):
            return await self._look(request, draft, proven)
        if isinstance(proven, Bought) and text_at(proven.shipment, "id") != draft.id:
            proven = Lost(code="answer_unreadable", message="The answer is of another shipment.")
        if isinstance(proven, Lost):
            return replace(proven, message=f"{proven.message}{doubt}")
        if isinstance(proven, Bought):
            proven = replace(proven, doubt=doubt.strip())
        return await self._conclude(request, proven)

    async def _look(self, request: Request, draft: Draft, looking: LookFirst) -> Answer:
        found = await self._read(draft.id)
        if isinstance(found, Lost):
            return found
        if is_unbought(found, statuses=looking.statuses):
            return looking.when_unbought
        return await self._conclude(request, judge(found))

    # --- looking things up ---------------------------------------------------------------------

    async def _read(self, shipment_id: str) -> JsonObject | Lost:
        """Read a shipment; that it is not found proves nothing."""
        if SHIPMENT_ID.fullmatch(shipment_id) is None:
            return Lost(code="not_found_out", message=f"{shipment_id} is no shipment of Karrio.")
        try:
            return await self._server.read(
                f"/v1/shipments/{shipment_id}",
                deadline=self._in(self._settings.read_timeout_seconds),
            )
        except ProviderError as error:
            return _not_found_out(error)

    async def _search(self, request: Request) -> Finding:
        """Look for bookings of a key of which no id was kept, as after a restore.

        None can have been bought unless our own books were cut off: a purchase leaves only once
        its draft's id is committed.
        """
        params = {"request_id": request.key, "limit": str(MOST_FOUND)}
        try:
            found = await self._server.read(
                "/v1/shipments",
                params=params,
                deadline=self._in(self._settings.read_timeout_seconds),
            )
        except ProviderError as error:
            return _not_found_out(error)
        verdicts = [
            judge(one) for one in objects_of(found, "results") if is_of_key(one, request.key)
        ]
        bought = [verdict for verdict in verdicts if isinstance(verdict, Bought)]
        if len(bought) > 1:
            ids = ", ".join(text_at(one.shipment, "id") for one in bought)
            return Lost(code="bought_twice", message=f"Several shipments carry this key: {ids}.")
        if bought:
            return await self._conclude(request, bought[0])
        marked = [one for one in verdicts if isinstance(one, Lost) and one.code != NOT_PROVEN]
        return marked[0] if marked else NotReceived(is_certain=True)

    # --- what was bought -----------------------------------------------------------------------

    async def _conclude(
        self, request: Request, proven: Bought | Proven
    ) -> Ended | Accepted | Lost | Proven:
        return await self._finish(request, proven) if isinstance(proven, Bought) else proven

    async def _finish(self, request: Request, bought: Bought) -> Ended | Accepted | Lost:
        """End a booking, once its label is here."""
        shipment = bought.shipment
        booked = Booked(
            result=result_of(shipment, request.payload, note=bought.doubt)
            | {"documents": [*needed_documents(shipment), *held_documents(shipment)]},
            reference=text_at(shipment, "id"),
        )
        return await self._fetch_documents(request, booked)

    async def _fetch_documents(self, request: Request, booked: Booked) -> Ended | Accepted | Lost:
        """Fetch what a booking lacks; until all is there, what it has is kept with it."""
        held = await asyncio.to_thread(documents_of, booked.result)
        try:
            fetched = [
                await self._fetch(booked.reference or "", name)
                for name in missing_documents(booked.result, held)
            ]
        except ProviderError as error:
            if error.permanent and http_documents.find_kept(request) is not None:
                return _not_found_out(error)
            return http_documents.keep_on(request, booked, now=self.clock())
        return booked.end([*held, *fetched])

    async def _fetch(self, shipment_id: str, name: str) -> Document:
        """Fetch a document by a POST that changes nothing."""
        reply = await self._server.post(
            f"/v1/shipments/{shipment_id}/documents/{name}",
            None,
            deadline=self._in(self._settings.read_timeout_seconds),
        )
        document = document_of(read_success(reply))
        if document is None:
            raise ProviderError(f"Karrio does not give the {name}.")
        return document

    def _in(self, seconds: float) -> float:
        return asyncio.get_running_loop().time() + seconds


def _not_found_out(error: ProviderError) -> Lost:
    """Say that a question was not answered; a refused key has to be mended first."""
    return Lost(code="not_found_out", message=error.message, stops_provider=error.permanent)


def _unbookable(fault: Unbookable) -> Ended:
    return Ended(
        status="failed",
        result={"retryable": True} if fault.is_retryable else {},
        error_code=fault.code,
        error_message=fault.message,
    )


def _doubt(request: Request, reply: Reply, shipment: JsonObject) -> str:
    """Say where a key cannot be looked up: something changed the request id on its way."""
    told = {reply.headers.get(REQUEST_ID), text_at(shipment, "meta", "request_id")}
    if told == {request.key}:
        return ""
    return (
        f" Look for shipment {text_at(shipment, 'id')}: the server does not keep our request id, "
        "so it cannot be asked by that."
    )


def _doubt_of_purchase(request: Request, draft: Draft, reply: Reply) -> str:
    """Say where a purchase cannot be looked up by its key: it overwrites the draft's request id.

    An answer without the id, as a proxy gives, does not show which one Karrio keeps.
    """
    told = reply.headers.get(REQUEST_ID)
    if told == request.key:
        return ""
    seen = "carries another request id than ours" if told else "does not carry our request id"
    return (
        f" Look for shipment {draft.id}: the answer to its purchase {seen}, so it may not be "
        "found by that."
    )
