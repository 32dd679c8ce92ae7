"""Providers are given the team's sender with each shipment, and only with those."""

from datetime import timedelta

from batchyard.intake.shipment_shape import Sender
from batchyard.models import Answer, Ended, Finding, Kind, Lost, Policy, Request
from batchyard.operations import senders
from batchyard.operations.audit import Actor
from batchyard.operations.teams import find_team
from tests.engine.conftest import Yard
from tests.providers.karrio_requests import SENDER


async def set_sender(yard: Yard) -> None:
    slug = str(await yard.value("SELECT slug FROM teams WHERE id = %s", [yard.team_id]))
    team = await find_team(yard.db, slug_or_uuid=slug)
    assert team is not None
    sender = Sender.model_validate(SENDER)
    await senders.set_sender(yard.db, team=team, sender=sender, actor=Actor(name="test"))


async def test_sender_goes_with_a_shipment_and_with_the_question_about_it(yard: Yard) -> None:
    async def lose(_: Request) -> Answer:
        return Lost(code="reset", message="Connection reset")

    def found(_: Request) -> Finding:
        return Ended(status="booked")

    await set_sender(yard)
    yard.provider.promises(policy=Policy.ASKABLE, is_askable=True, timeout=timedelta(0))
    yard.provider.script = lose
    yard.provider.answers_when_asked = found
    batch_id = await yard.make_batch(items=1)
    async with yard.working():
        await yard.until_ended(batch_id)
    for request in (*yard.provider.sent, *yard.provider.asked):
        assert request.payload == {"n": 0, "parties": {"sender": SENDER}}
    assert await yard.value("SELECT payload FROM item_data") == {"n": 0}


async def test_call_is_given_no_sender(yard: Yard) -> None:
    await set_sender(yard)
    batch_id = await yard.make_batch(items=1, kind=Kind.CALL)
    async with yard.working():
        await yard.until_ended(batch_id)
    assert [request.payload for request in yard.provider.sent] == [{"n": 0}]
