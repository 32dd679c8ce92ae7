"""Settings are changed by the API's own operations, each with its trace; the overview counts."""

import re
from datetime import date, timedelta

import pytest

from batchyard.contact_rules import TeamRules
from batchyard.dashboard.visitors import PREFIX
from batchyard.models import BatchState, Kind, Rate
from batchyard.operations import access, contacts
from batchyard.operations.limits import set_limit
from batchyard.operations.providers import set_route
from tests import factories
from tests.cli.stored import add_http
from tests.dashboard.conftest import Yard
from tests.dashboard.forms import form_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

NONE = "\N{EN DASH}"
"""Where nothing was counted."""

ACTIONS = """
SELECT array_agg(action ORDER BY id) FROM audit_log
 WHERE team_id = %s AND action NOT LIKE 'session.%%'
"""


async def test_limits_of_a_batch_are_traced_with_what_they_replaced(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    batch_id = await factories.make_batch(yard.db, team=team)
    path = f"{PREFIX}/batches/{batch_id}/settings/limits"
    async with yard.client(team=team) as client:
        for concurrency in ("5", ""):
            form = {"concurrency": concurrency, "rate": "30", "per": "60"}
            assert (await client.post(path, data=form)).status_code == 303
    nothing: dict[str, object] = {"concurrency": None, "rates": []}
    rates = [{"count": 30, "seconds": 60}]
    assert await yard.value(
        "SELECT jsonb_agg(jsonb_build_array(before, after) ORDER BY id) FROM audit_log"
        " WHERE subject = %s AND action = 'batch.limit'",
        [str(batch_id)],
    ) == [
        [nothing, {"concurrency": 5, "rates": rates}],
        [{"concurrency": 5, "rates": rates}, {"concurrency": None, "rates": rates}],
    ]


async def test_every_setting_is_changed_and_leaves_a_trace(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    agent_id = await factories.make_agent(yard.db, team=team)
    await yard.execute(
        "UPDATE providers SET paused_reason = 'brake: 9 of 10', paused_at = now()"
        " WHERE name = 'sandbox'"
    )
    async with yard.client(team=team) as client:

        async def post(path: str, **form: object) -> str:
            answer = await client.post(f"{PREFIX}/settings{path}", data=form)
            assert answer.status_code in {201, 303}, (path, answer.text)
            return answer.text

        async def get(path: str) -> str:
            answer = await client.get(f"{PREFIX}/settings{path}", follow_redirects=True)
            assert answer.status_code == 200
            return answer.text

        assert "brake: 9 of 10" in await get("")
        await post("/providers/resume/sandbox")
        assert "brake: 9 of 10" not in await get("/providers")
        await post("/providers/routes", scope=str(agent_id), provider="sandbox")
        await post("/limits/team", concurrency="7", rate="30", per="60")
        await post(f"/limits/{agent_id}", concurrency="2")
        limits = await get("/limits")
        assert 'value="7"' in limits
        assert 'value="30"' in limits

        made = await post("/tokens", name="Export", scopes="batches:read", days="30")
        [token] = re.findall(r"by_[\w-]{43}", made)
        principal = await access.authenticate(yard.db, token=token)
        assert principal is not None
        assert principal.scopes == {"batches:read"}
        listed = await get("/tokens")
        assert token not in listed
        [token_id] = re.findall(
            r"/tokens/(\d+)/revoke.*?Export|Export.*?/tokens/(\d+)/revoke", listed, re.DOTALL
        )[:1]
        await post(f"/tokens/{token_id[0] or token_id[1]}/revoke")
        assert await access.authenticate(yard.db, token=token) is None

        await post(
            "/people", name="Ann", email="ann@yard.example", password="x" * 12, scopes="admin"
        )
        [user_id] = set(re.findall(r"/people/([0-9a-f-]{36})/remove", await get("/people")))
        await post(f"/people/{user_id}/password", password="y" * 12)
        await post(f"/people/{user_id}/remove")

        await post("/webhooks", url="http://127.0.0.1:1/hook", events="batch.*")
        [hook] = set(re.findall(r"/endpoints/([0-9a-f-]{36})/test", await get("/webhooks")))
        await post(f"/webhooks/endpoints/{hook}/test")
        await yard.execute(
            "UPDATE webhook_deliveries SET state = 'failed', ended_at = now() WHERE team_id = %s",
            [team.id],
        )
        [delivery] = re.findall(r"/deliveries/([0-9a-f-]{36})/redeliver", await get("/webhooks"))
        await post(f"/webhooks/deliveries/{delivery}/redeliver")
        await post("/webhooks/redeliver-failed")
        await post("/webhooks/rotate")
        for deed in ("disable", "enable", "delete"):
            await post(f"/webhooks/endpoints/{hook}/{deed}")

        await post("/do-not-contact", number="+4520123456", reason="Asked", until="2099-01-01")
        assert "<b>+4520123456</b>" in await get("/do-not-contact")
        await post("/do-not-contact/allow", number="+4520123456")
        assert "<b>+4520123456</b>" not in await get("/do-not-contact")
        log = await get("/audit")
        assert "token.create" in log
        assert token not in log
        assert "+4520123456" not in log
    assert await yard.value(ACTIONS, [team.id]) == [
        "provider.resume",
        "route.set",
        "limit.set",
        "limit.set",
        "token.create",
        "token.revoke",
        "user.create",
        "user.password",
        "user.remove",
        "webhook.create",
        "webhook.test",
        "webhook.redeliver",
        "webhook.redeliver_failed",
        "webhook.rotate_secret",
        "webhook.change",
        "webhook.change",
        "webhook.delete",
        "contact.block",
        "contact.allow",
    ]


async def test_what_cannot_be_is_said_beside_its_field_and_changes_nothing(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    other = await factories.make_agent(yard.db, team=await factories.make_team(yard.db))
    async with yard.client(team=team) as client:
        for path, form, status, told in (
            ("/limits/team", {"concurrency": "many"}, 422, "whole number"),
            (f"/limits/{other}", {"concurrency": "1"}, 404, "no such agent"),
            ("/providers/routes", {"scope": str(other), "provider": "sandbox"}, 404, "agent"),
            ("/providers/routes", {"scope": "", "provider": "sandbox"}, 422, "Choose what"),
            ("/providers/resume/nobody", {}, 404, "no such provider"),
            ("/providers/pause/nobody", {}, 404, "no such provider"),
            ("/providers/limits/nobody", {}, 404, "no such provider"),
            ("/tokens", {"name": ""}, 422, "Say what it is for."),
            ("/people", {"name": "A", "email": "no", "scopes": "admin"}, 422, "no address"),
            ("/people", {"name": "A", "email": "a@b.cd", "scopes": "admin", "password": "short"},
             422, "12"),
            ("/webhooks", {"url": "nowhere"}, 422, "must be an address"),
            ("/do-not-contact", {"number": "12"}, 422, "+4520123456"),
            ("/do-not-contact", {"number": "+4520123456", "until": "9999-12-31"}, 422, "Choose a"),
        ):  # fmt: skip
            answer = await client.post(f"{PREFIX}/settings{path}", data=form)
            assert answer.status_code == status, (path, answer.text)
            assert told in answer.text, path
    assert await yard.value(ACTIONS, [team.id]) is None


async def test_overview_tells_what_happened_today(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    agent_id = await factories.make_agent(yard.db, team=team)
    batch_id = await factories.make_batch(yard.db, team=team, kind=Kind.CALL, reference="Today")
    for number in ("+4520123403", "+4520123408"):
        await factories.make_items(yard.db, team=team, batch_id=batch_id, number=number, payload={})
    await yard.execute("UPDATE batches SET agent_id = %s WHERE id = %s", [agent_id, batch_id])
    async with yard.client(team=team) as client:
        started = await client.post(f"{PREFIX}/batches/{batch_id}/do/start")
        assert started.status_code == 303
        before = (await client.get(f"{PREFIX}/overview")).text
        assert "No worker is alive" in before
        assert "Today" in before
        assert "Nothing has failed today." in before
        async with yard.working():
            await yard.until("SELECT state = 'completed' FROM batches WHERE id = %s", [batch_id])
            await yard.until(
                "SELECT sum(ok + failed) = 2 FROM tallies WHERE scope = %s", [f"team:{team.id}"]
            )
            after = (await client.get(f"{PREFIX}/overview")).text
    assert "No worker is alive" not in after
    assert "Nothing runs now" in after
    assert "call failed" in after
    assert re.search(r'id="hours-data">\[\[', after)


async def test_retries_changed_in_the_form_keep_what_it_does_not_show(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    batch_id = await factories.make_batch(yard.db, team=team, kind=Kind.CALL)
    await yard.execute(
        "UPDATE batches SET retry_policy = '{\"jitter\": 0.25}' WHERE id = %s", [batch_id]
    )
    form = {"statuses": "busy", "max_retries": "2", "intervals_minutes": "5"}
    async with yard.client(team=team) as client:
        answer = await client.post(f"{PREFIX}/batches/{batch_id}/settings/retries", data=form)
    assert answer.status_code == 303, answer.text
    kept = await yard.value("SELECT retry_policy FROM batches WHERE id = %s", [batch_id])
    assert kept == {
        "statuses": ["busy"],
        "max_retries": 2,
        "intervals_minutes": [5],
        "on_voicemail": False,
        "jitter": 0.25,
    }


async def test_retries_saved_as_they_are_shown_stay_to_the_fraction_of_a_minute(
    yard: Yard,
) -> None:
    team = await factories.make_team(yard.db)
    batch_id = await factories.make_batch(yard.db, team=team, kind=Kind.CALL)
    await yard.execute(
        "UPDATE batches SET retry_policy = %s::jsonb WHERE id = %s",
        ['{"statuses": ["busy"], "max_retries": 3, "intervals_minutes": [0.5, 1.5, 90]}', batch_id],
    )
    path = f"{PREFIX}/batches/{batch_id}/settings"
    async with yard.client(team=team) as client:
        page = (await client.get(path)).text
        [shown] = re.findall(r'name="intervals_minutes" value="([^"]*)"', page)
        form = {"statuses": "busy", "max_retries": "3", "intervals_minutes": shown}
        answer = await client.post(f"{path}/retries", data=form)
    assert shown == "0.5, 1.5, 90"
    assert answer.status_code == 303, answer.text
    kept = "SELECT retry_policy -> 'intervals_minutes' FROM batches WHERE id = %s"
    assert await yard.value(kept, [batch_id]) == [0.5, 1.5, 90]


async def test_limits_saved_in_a_form_keep_the_burst_that_it_does_not_show(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    batch_id = await factories.make_batch(yard.db, team=team)
    settings = {
        f"team:{team.slug}": "/settings/limits/team",
        f"batch:{batch_id}": f"/batches/{batch_id}/settings/limits",
    }
    async with yard.client(team=team) as client:
        for scope, path in settings.items():
            rates = [Rate(count=100, seconds=1)]
            await set_limit(yard.db, scope=scope, concurrency=None, rates=rates, burst=10)
            form = {"concurrency": "7", "rate": "50", "per": "1"}
            answer = await client.post(f"{PREFIX}{path}", data=form)
            assert answer.status_code == 303, answer.text
    kept = "SELECT jsonb_agg(jsonb_build_array(count, burst)) FROM rates WHERE key = ANY (%s)"
    keys = [f"team:{team.id}", f"batch:{batch_id}"]
    assert await yard.value(kept, [keys]) == [[50, 10], [50, 10]]


async def test_team_is_renamed_and_spoken_to_in_its_language_and_time(yard: Yard) -> None:
    team = await factories.make_team(yard.db, slug="nord")
    path = f"{PREFIX}/settings/limits"
    right = {"name": "Nord & Syd", "locale": "da", "timezone": "Europe/Copenhagen"}
    kept = "SELECT jsonb_build_array(name, locale, timezone) FROM teams WHERE id = %s"
    async with yard.client(team=team) as client:
        for wrong, told in (
            ({"name": " "}, "Use 1 to 255 characters."),
            ({"locale": "klingon"}, "Choose one of these languages."),
            ({"timezone": "Mars/Olympus"}, "Enter a time zone such as Europe/Copenhagen."),
        ):
            refused = await client.post(path, data=right | wrong)
            assert refused.status_code == 422
            assert told in refused.text
            # What was typed is still there, right or wrong.
            assert 'value="Nord &amp; Syd"' in refused.text or "name" in wrong
        assert await yard.value(kept, [team.id]) == ["Nord", "en", "UTC"]
        assert await yard.value(ACTIONS, [team.id]) is None

        done = await client.post(path, data=right)
        page = (await client.get(path)).text

    assert done.headers["location"] == path
    assert await yard.value(kept, [team.id]) == ["Nord & Syd", "da", "Europe/Copenhagen"]
    for words in ('<html lang="da">', "Nord &amp; Syd", "Gem teamet", "Tidszone"):
        assert words in page
    trace = "SELECT jsonb_build_array(action, subject, before, after) FROM audit_log"
    assert await yard.value(
        f"{trace} WHERE team_id = %s AND action = 'team.change'", [team.id]
    ) == [
        "team.change",
        "nord",
        {"name": "Nord", "locale": "en", "timezone": "UTC"},
        right,
    ]


async def test_provider_is_limited_and_paused_for_everybody(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    agent_id = await factories.make_agent(yard.db, team=team)
    await add_http(yard.db, "limited")
    await set_route(yard.db, team=team, kind=Kind.CALL, agent_id=agent_id, provider="limited")
    path = f"{PREFIX}/settings/providers"
    stands = (
        "SELECT jsonb_build_array(l.concurrency, r.count, r.seconds, p.paused_reason)"
        " FROM providers p LEFT JOIN limits l ON l.key = 'provider:' || p.id"
        " LEFT JOIN rates r USING (key) WHERE p.name = 'limited'"
    )
    async with yard.client(team=team) as client:
        wrong = await client.post(f"{path}/limits/limited", data={"concurrency": "many"})
        assert (wrong.status_code, 'value="many"' in wrong.text) == (422, True)
        form = {"concurrency": "3", "rate": "20", "per": "60"}
        assert (await client.post(f"{path}/limits/limited", data=form)).status_code == 303
        paused = await client.post(f"{path}/pause/limited", data={"reason": "Their night."})
        assert paused.status_code == 303
        page = (await client.get(path)).text
    assert await yard.value(stands) == [3, 20, 60, "Their night."]
    for told in ("Their night.", 'value="3"', 'value="20"', "/resume/limited"):
        assert told in page
    assert "/pause/limited" not in page
    assert await yard.value(ACTIONS, [team.id]) == ["limit.set", "provider.pause"]


async def test_share_of_a_team_is_set_with_its_limits(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    path = f"{PREFIX}/settings/limits"
    weight = "SELECT weight FROM teams WHERE id = %s"
    async with yard.client(team=team) as client:
        wrong = await client.post(f"{path}/team", data={"concurrency": "7", "weight": "0"})
        assert wrong.status_code == 422
        assert await yard.value(weight, [team.id]) == 1
        done = await client.post(f"{path}/team", data={"concurrency": "7", "weight": "3"})
        assert done.status_code == 303
        assert 'name="weight" value="3"' in (await client.get(path)).text
        # A form without it leaves it.
        assert (await client.post(f"{path}/team", data={"concurrency": "8"})).status_code == 303
    assert await yard.value(weight, [team.id]) == 3


async def test_rules_of_the_team_are_set_and_leave_a_trace(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    page, path = f"{PREFIX}/settings/limits", f"{PREFIX}/settings/rules"
    right: dict[str, object] = {
        "days": ["1", "2", "5"],
        "holidays": "2026-12-24, 2026-12-25",
        "fallback_zone": "America/New_York",
        "attempts_per_day": "2",
        "attempts_per_week": "5",
        "countries": "se, DK",
    }
    wrongs: list[tuple[dict[str, object], str]] = [
        ({"days": []}, "Choose at least one day."),
        ({"holidays": "Christmas"}, "Enter dates such as 2026-12-24"),
        ({"fallback_zone": "Mars/Olympus"}, "Enter a time zone"),
        ({"attempts_per_day": "0"}, "Enter a whole number from 1 to 1000."),
        ({"countries": "DK, Atlantis"}, "Enter codes of countries"),
    ]
    async with yard.client("batches:read", "contacts", team=team) as client:
        for wrong, told in wrongs:
            refused = await client.post(path, data=right | wrong)
            assert (refused.status_code, told in refused.text) == (422, True), told
            # What was typed is still there, right or wrong.
            assert 'value="se, DK"' in refused.text or "countries" in wrong
        assert await contacts.read_rules(yard.db, team=team) == TeamRules()
        assert await yard.value(ACTIONS, [team.id]) is None

        done = await client.post(path, data=right)
        assert (done.status_code, done.headers["location"]) == (303, page)
        set_ = await contacts.read_rules(yard.db, team=team)
        assert set_ == TeamRules(
            days=frozenset({1, 2, 5}),
            holidays=frozenset({date(2026, 12, 24), date(2026, 12, 25)}),
            fallback_zone="America/New_York",
            attempts_per_day=2,
            attempts_per_week=5,
            countries=frozenset({"DK", "SE"}),
            refuses_premium=True,
        )
        # What the page shows, saved again, changes nothing.
        shown = form_of((await client.get(page)).text, path)
        assert (await client.post(path, data=shown)).status_code == 303
        assert await contacts.read_rules(yard.db, team=team) == set_
    traces = "SELECT jsonb_agg(jsonb_build_array(action, before, after) ORDER BY id) FROM audit_log"
    facts = contacts.facts_of(set_)
    assert await yard.value(
        f"{traces} WHERE team_id = %s AND action = 'rules.change'", [team.id]
    ) == [
        ["rules.change", contacts.facts_of(TeamRules()), facts],
        ["rules.change", facts, facts],
    ]


async def test_only_an_administrator_changes_the_team(yard: Yard) -> None:
    async with yard.client("batches:read", "batches:write") as client:
        page = await client.get(f"{PREFIX}/settings/limits")
        refused = await client.post(f"{PREFIX}/settings/limits", data={"name": "Ours"})

    assert yard.team.name in page.text
    assert "Save the team" not in page.text
    assert refused.status_code == 403


async def test_overview_tells_how_providers_do_and_how_long_the_queue_waits(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    now = yard.db.clock()
    for name in ("dialer", "braked", "busy", "fresh"):
        await add_http(yard.db, name)
        await set_route(
            yard.db,
            team=team,
            kind=Kind.CALL,
            agent_id=await factories.make_agent(yard.db, team=team),
            provider=name,
        )
    await yard.execute(
        "INSERT INTO tallies (scope, at, ok, failed, seconds)"
        " SELECT 'provider:' || id, %s, 90, 10, 320 FROM providers WHERE name = 'dialer'",
        [now - timedelta(minutes=5)],
    )
    await yard.execute(
        "UPDATE providers SET paused_reason = 'brake: 9 of 10 attempts failed', paused_at = %s"
        " WHERE name = 'braked'",
        [now],
    )
    await yard.execute(
        "UPDATE providers SET slow_until = %s WHERE name = 'busy'", [now + timedelta(minutes=10)]
    )
    batch_id = await factories.make_batch(yard.db, team=team, state=BatchState.RUNNING)
    await factories.make_items(yard.db, team=team, batch_id=batch_id, n=3)
    await yard.execute(
        "UPDATE items SET due_at = %s WHERE batch_id = %s", [now - timedelta(minutes=25), batch_id]
    )

    async with yard.client(team=team) as client:
        text = (await client.get(f"{PREFIX}/overview")).text

    def said(name: str) -> str:
        [row] = re.findall(rf"<b>{name}</b></td>(.*?)</tr>", text, re.DOTALL)
        return " ".join(re.sub(r"<[^>]+>", " ", row).split())

    assert said("dialer") == "90% of 100 3 secs open"
    assert said("braked") == f"{NONE} {NONE} paused brake: 9 of 10 attempts failed"
    assert said("busy").startswith(f"{NONE} {NONE} asked to wait in ")
    assert said("fresh") == f"{NONE} {NONE} open"
    assert re.search(r"Longest wait in the queue</dt><dd>25 mins</dd>", text)
