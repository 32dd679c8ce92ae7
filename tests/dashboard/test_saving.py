"""What a form shows and nobody changes in it stays as it is when the form is saved."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pytest

from batchyard.contact_rules import TeamRules
from batchyard.dashboard.visitors import PREFIX
from batchyard.models import Kind, Rate, Team
from batchyard.operations import contacts
from batchyard.operations.limits import set_limit
from batchyard.operations.providers import set_route
from batchyard.windows import EVERY_DAY
from tests import factories
from tests.cli.stored import add_http
from tests.dashboard.conftest import Yard
from tests.dashboard.forms import form_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

WEEK = 7 * 86_400
ODD = [Rate(count=10, seconds=10), Rate(count=500, seconds=WEEK)]
"""Over times that no usual unit stands for."""
LIMITS, RULES = f"{PREFIX}/settings/limits", f"{PREFIX}/settings/rules"


async def rates_of(yard: Yard, key: str) -> object:
    query = "SELECT jsonb_agg(jsonb_build_array(count, seconds) ORDER BY seconds) FROM rates"
    return await yard.value(f"{query} WHERE key = %s", [key])


async def forms_of_limits(
    yard: Yard, *, team: Team, provider: str
) -> Sequence[tuple[str, str, str]]:
    """Return whose limits have a form, on which page, and where it is sent to."""
    batch_id = await factories.make_batch(yard.db, team=team)
    agent_id = await factories.make_agent(yard.db, team=team)
    await add_http(yard.db, provider)
    await set_route(yard.db, team=team, kind=Kind.CALL, agent_id=agent_id, provider=provider)
    batch, providers = f"{PREFIX}/batches/{batch_id}/settings", f"{PREFIX}/settings/providers"
    return (
        (f"batch:{batch_id}", batch, f"{batch}/limits"),
        (f"team:{team.slug}", LIMITS, f"{LIMITS}/team"),
        (f"agent:{agent_id}", LIMITS, f"{LIMITS}/{agent_id}"),
        (f"provider:{provider}", providers, f"{providers}/limits/{provider}"),
    )


async def test_rates_over_any_time_stay_in_every_form_of_limits(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    async with yard.client(team=team) as client:
        for scope, page, path in await forms_of_limits(yard, team=team, provider="odd"):
            done = await set_limit(yard.db, scope=scope, concurrency=3, rates=ODD)
            shown = (await client.get(page)).text
            assert ">in 10 secs</option>" in shown, path
            form: dict[str, Sequence[str]] = {**form_of(shown, path), "concurrency": ["7"]}
            answer = await client.post(path, data=form)
            assert answer.status_code == 303, answer.text
            assert await rates_of(yard, done.key) == [[10, 10], [500, WEEK]], path


async def test_rates_that_were_typed_stay_in_every_form_of_limits_with_a_fault(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    async with yard.client(team=team) as client:
        for scope, page, path in await forms_of_limits(yard, team=team, provider="typed"):
            done = await set_limit(yard.db, scope=scope, concurrency=None, rates=[])
            shown = form_of((await client.get(page)).text, path)
            typed = {"concurrency": ["5o"], "rate": ["9", "100"], "per": ["10", "60"]}
            refused = await client.post(path, data=shown | typed)
            assert refused.status_code == 422, path
            assert ">in 10 secs</option>" in refused.text, path
            again = form_of(refused.text, path)
            assert again["rate"] == ["9", "100", ""], path
            answer = await client.post(path, data=again | {"concurrency": ["50"]})
            assert answer.status_code == 303, answer.text
            assert await rates_of(yard, done.key) == [[9, 10], [100, 60]], path


@pytest.mark.parametrize("per", ["0", str(31 * 86_400 + 1), "a while"])
async def test_rate_over_no_time_is_told_and_changes_nothing(yard: Yard, per: str) -> None:
    team = await factories.make_team(yard.db)
    batch_id = await factories.make_batch(yard.db, team=team)
    done = await set_limit(yard.db, scope=f"batch:{batch_id}", concurrency=None, rates=ODD)
    path = f"{PREFIX}/batches/{batch_id}/settings/limits"
    async with yard.client(team=team) as client:
        answer = await client.post(path, data={"rate": "5", "per": per})
    assert answer.status_code == 422
    assert "Enter a whole number from 1 to 2678400." in answer.text
    form = form_of(answer.text, path)
    assert (form["rate"], form["per"]) == (["5", ""], [per, "60"])
    assert await rates_of(yard, done.key) == [[10, 10], [500, WEEK]]


async def test_retries_keep_the_statuses_that_the_form_does_not_show(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    batch_id = await factories.make_batch(yard.db, team=team, kind=Kind.CALL)
    await yard.execute(
        "UPDATE batches SET retry_policy = %s::jsonb WHERE id = %s",
        ['{"statuses": ["canceled", "busy", "stopped"], "max_retries": 1}', batch_id],
    )
    page = f"{PREFIX}/batches/{batch_id}/settings"
    async with yard.client(team=team) as client:
        form = form_of((await client.get(page)).text, f"{page}/retries")
        assert form["statuses"] == ["busy"]
        for chosen, kept in (
            (["busy", "failed"], ["busy", "failed", "canceled", "stopped"]),
            ([], ["canceled", "stopped"]),
        ):
            answer = await client.post(f"{page}/retries", data=form | {"statuses": chosen})
            assert answer.status_code == 303, answer.text
            query = "SELECT retry_policy -> 'statuses' FROM batches WHERE id = %s"
            assert await yard.value(query, [batch_id]) == kept


async def test_rules_that_were_not_changed_stay_as_somebody_else_has_set_them(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    held = TeamRules(
        holidays=frozenset({date(2026, 12, 25)}),
        fallback_zone="Europe/Copenhagen",
        attempts_per_week=5,
        countries=frozenset({"DK"}),
    )
    others = TeamRules(
        days=EVERY_DAY - {7},
        holidays=frozenset({date(2026, 12, 24), date(2026, 12, 25)}),
        fallback_zone="America/New_York",
        attempts_per_week=4,
        countries=frozenset({"DK", "SE"}),
        refuses_premium=True,
    )
    await contacts.set_rules(yard.db, team=team, change=lambda _: held)
    async with yard.client("batches:read", "contacts", team=team) as client:
        form = form_of((await client.get(LIMITS)).text, RULES)
        await contacts.set_rules(yard.db, team=team, change=lambda _: others)
        # What was shown at first is known still when the form comes back with a fault.
        refused = await client.post(RULES, data=form | {"attempts_per_day": ["many"]})
        assert refused.status_code == 422
        again = form_of(refused.text, RULES) | {"attempts_per_day": ["2"]}
        assert (await client.post(RULES, data=again)).status_code == 303
        now = replace(others, attempts_per_day=2)
        assert await contacts.read_rules(yard.db, team=team) == now
        # What is taken out is a change as well.
        form = form_of((await client.get(LIMITS)).text, RULES)
        form |= {"premium": ["on"], "holidays": [""], "countries": [""], "fallback_zone": [""]}
        assert (await client.post(RULES, data=form)).status_code == 303
        assert await contacts.read_rules(yard.db, team=team) == replace(
            now,
            refuses_premium=False,
            holidays=frozenset(),
            countries=None,
            fallback_zone=None,
        )
        form = form_of((await client.get(LIMITS)).text, RULES)
        del form["premium"]
        assert (await client.post(RULES, data=form)).status_code == 303
        assert (await contacts.read_rules(yard.db, team=team)).refuses_premium


async def test_events_stay_ticked_where_the_address_was_mistyped(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    path = f"{PREFIX}/settings/webhooks"
    wrong = {"url": "htps://example.com/hook", "events": ["batch.ended"]}
    async with yard.client(team=team) as client:
        refused = await client.post(path, data=wrong)
        assert refused.status_code == 422
        form = form_of(refused.text, path)
        assert form["events"] == ["batch.ended"]
        form["url"] = ["https://example.com/hook"]
        assert (await client.post(path, data=form)).status_code == 303
    kept = "SELECT events FROM webhook_endpoints WHERE team_id = %s"
    assert await yard.value(kept, [team.id]) == ["batch.ended"]
