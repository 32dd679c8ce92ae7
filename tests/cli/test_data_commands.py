"""The commands that speak to a server: a list from its upload to its results."""

import csv
import io
import json
import zipfile
from pathlib import Path
from uuid import UUID

from batchyard.models import BatchState, Kind, Phase
from tests.cli.stored import make_ready
from tests.cli.yard import Said, Yard
from tests.factories import make_agent, make_batch, make_items
from tests.waiting import wait_until

GOOD, BUSY, FAILS = "+4520123403", "+4520123401", "+4520123408"


def lines(said: Said) -> list[dict[str, object]]:
    return [json.loads(line) for line in said.out.splitlines()]


def test_list_of_calls_from_upload_to_results(server: Yard, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text(f"Mobil,name\n{GOOD},Ann\n12,Bo\n{BUSY},Cy\n{FAILS},Di\n", encoding="utf-8")
    run = server.run
    assert "batchyard agent add" in run("agent", "list").out
    run("calls", file, "--agent", "Anna").one_line("no agent 'Anna'", "none yet")
    agent = run("agent", "add", "Anna").out.strip()
    assert agent in run("agent", "list").out

    options = ("--agent", "Anna", "--map", "Mobil=contact_number", "--name", "Spring")
    strict = run("calls", file, *options, "--policy", "all_or_nothing")
    strict.one_line("1 of 4 rows cannot be taken", "line 3: The phone number", "Write it like +45")
    told = run("calls", file, *options, "--no-start")

    assert told.code == 0, told.err
    assert "people.csv: 4 rows, 3 accepted, 1 refused." in told.out
    assert any(
        line.split()[:2] == ["3", "phone_no_plus"] and "Write it like +45" in line
        for line in told.out.splitlines()
    )
    (batch,) = lines(run("batches", "--json"))
    id_ = str(batch["id"])
    assert (batch["state"], batch["reference"], batch["total"]) == ("open", "Spring", 3)
    assert f"batchyard start {id_}" in told.out
    run("calls", file, *options).one_line(id_, "--again")
    assert "not started yet" in run("batch", "latest").out

    report = lines(run("report", id_, "--json"))
    assert (report[0]["rows"], report[1]["line"], report[1]["code"]) == (4, 3, "phone_no_plus")
    bad = tmp_path / "bad.csv"
    assert "batchyard mend" in run("report", id_, "--output", bad).err
    bad.write_text(bad.read_text("utf-8-sig").replace("\n12,", f"\n{GOOD},"), encoding="utf-8")
    assert "1 accepted" in run("mend", id_, bad).out

    assert "4 calls started" in run("start", id_).out
    watched = run("watch", id_)
    assert watched.code == 0, watched.out
    assert watched.out.splitlines()[-3].startswith("The batch is completed: 2 completed, ")
    assert f"batchyard retry {id_}" in watched.out

    (failed,) = lines(run("items", id_, "--status", "failed", "--json"))
    assert failed["number"] == FAILS
    assert [one["number"] for one in lines(run("items", id_, "--search", "Cy", "--json"))] == [BUSY]
    shown = run("item", failed["id"]).out
    assert "Di" in shown
    assert "failed" in shown
    assert json.loads(run("item", failed["id"], "--json").out)["payload"]["name"] == "Di"
    assert "There are more: --limit 20" in run("items", id_, "--limit", "2").err

    rows = list(csv.DictReader(io.StringIO(run("results", id_).out.lstrip("\ufeff"))))
    assert [row["number"] for row in rows].count(GOOD) == 2
    evidence = tmp_path / "evidence.zip"
    assert run("results", id_, "--output", evidence).code == 0
    assert "manifest.json" in zipfile.ZipFile(evidence).namelist()
    run("results", id_, "--output", tmp_path / "labels.pdf").one_line("no labels")
    run("results", id_, "--output", tmp_path / "results.doc").one_line("--format", ".csv")
    assert not (tmp_path / "labels.pdf").exists()
    assert list(tmp_path.glob(".*")) == []

    assert (
        run("retry", id_, "--status", "failed", "--yes").out
        == "Spring: 1 call will be tried again.\n"
    )
    wait_until(lambda: json.loads(run("batch", id_, "--json").out)["state"] == "completed")
    assert "Nothing to try again" in run("retry", id_, "--status", "error").out
    assert run("delete", id_, "--yes").out == "Spring: deleted, with 4 calls.\n"
    run("batch", id_).one_line("no such batch")
    actions = [entry["action"] for entry in lines(run("audit", "--json"))]
    assert actions[0] == "batch.delete"
    assert {"agent.create", "batch.create", "batch.mend", "batch.retry"} <= set(actions)
    assert run("audit").out.splitlines()[1].split()[-1] == "127.0.0.1"


def test_batches_are_steered_and_every_wrong_state_is_one_line(server: Yard) -> None:
    run, team = server.run, server.team
    opened = server.do(make_ready(server.db, team=team, n=2, state=BatchState.OPEN))
    late = server.do(make_ready(server.db, team=team, n=1, state=BatchState.OPEN))
    live = server.do(make_batch(server.db, team=team, state=BatchState.PAUSED))
    server.do(
        make_items(server.db, team=team, batch_id=live, n=2, phase=Phase.LIVE, status="processing")
    )
    for command in ("pause", "resume", "stop"):
        run(command, opened).one_line("A batch that is open cannot be")
    assert "1 shipment to start 2099-01-0" in run("start", late, "--at", "2099-01-02T10:00:00Z").out
    run("cancel", late).one_line("scheduled cannot be cancelled")
    run("pause", live).one_line("paused cannot be paused")
    assert "resumed with 0 shipments to go." in run("resume", live).out
    assert "paused with 0 shipments to go, 2 under way finish" in run("pause", live).out
    assert "Waits: test paused the batch; resume it to go on." in run("batch", live).out
    assert run("resume", live).code == 0
    run("cancel", opened).one_line("2 shipments will never be sent. Add --yes")
    assert "cancelled, with 2 shipments." in run("cancel", opened, "--yes").out
    run("start", opened).one_line("cancelled cannot be dispatched")
    run("start", live).one_line("running cannot be dispatched")
    run("stop", live).one_line("0 shipments will never be sent, 2 under way finish.")
    run("stop", live, late, "--yes")
    states = {one["id"]: one["state"] for one in lines(run("batches", "--json"))}
    assert states == {str(opened): "cancelled", str(late): "stopped", str(live): "stopped"}
    only = lines(run("batches", "--state", "stopped", "--kind", "shipment", "--json"))
    assert len(only) == 2
    run("batches", "--state", "gone").one_line("'gone'", "completed")
    run("resume").one_line("--all-restored")
    run("watch", "first").one_line("'first'", "latest")
    ended = run("watch", late)
    assert (ended.code, ended.out.splitlines()[0].split(" | ")[0]) == (1, "stopped")
    (last,) = lines(run("watch", late, "--json"))
    assert (last["id"], last["state"]) == (str(late), "stopped")
    server.new_team()
    run("batch", "latest").one_line("no batch yet")
    run("pause", live).one_line("no such batch")


def test_unknown_outcomes_are_listed_and_decided(server: Yard) -> None:
    run, team = server.run, server.team
    batch = server.do(make_batch(server.db, team=team, state=BatchState.FAILED))
    ids = server.do(
        make_items(server.db, team=team, batch_id=batch, n=4, phase=Phase.UNKNOWN, status="unknown")
    )
    listed = json.loads(run("unknown", "--json").out)
    assert [item["key"] for item in listed] == [f"{one}.1" for one in ids]
    cut = run("unknown", "--limit", "3")
    assert (len(cut.out.splitlines()), "1 more" in cut.err) == (4, True)
    run("resolve", "--as", "done", "--all").one_line("4 items will count as done. Add --yes")
    run("resolve", "--as", "maybe", "--all").one_line("'maybe'", "done, failed, retry")
    run("resolve", "--as", "done").one_line("--all")
    run("resolve", "--as", "done", "--all", "--batch", batch).one_line("either")
    named = ("--item", ids[0], "--item", batch)
    decided = run("resolve", "--as", "failed", *named, "--yes")
    assert decided.out == "Decided as failed: 1 item.\n"
    assert decided.err == "1 of those named have no unknown outcome here.\n"
    assert run("resolve", "--as", "done", "--batch", batch, "-y").out.endswith("3 items.\n")
    assert run("unknown").out == "No outcome is unknown.\n"
    counts = json.loads(run("batch", batch, "--json").out)["counts"]
    assert counts == {"failed": 1, "booked": 3}


def test_unknown_outcomes_are_decided_by_filters(server: Yard) -> None:
    run, team = server.run, server.team
    batch = server.do(make_batch(server.db, team=team, kind=Kind.CALL, state=BatchState.COMPLETED))
    ids: list[UUID] = []
    for number, name in ((GOOD, "Ann"), (BUSY, "Bo"), (FAILS, "Cy")):
        ids += server.do(
            make_items(
                server.db,
                team=team,
                batch_id=batch,
                phase=Phase.UNKNOWN,
                status="unknown",
                number=number,
                payload={"name": name},
            )
        )
    assert [one["number"] for one in lines_of(run("unknown", "--number", BUSY, "--json"))] == [BUSY]
    wrong = run("resolve", "--as", "done", "--all", "--search", "Bo")
    wrong.one_line("either", "a filter")
    run("resolve", "--as", "done", "--search", "bo").one_line("1 item will count as done")
    decided = run("resolve", "--as", "failed", "--batch", batch, "--search", "bo", "--yes")
    assert decided.out == "Decided as failed: 1 item.\n"
    assert run("resolve", "--as", "done", "--code", "reset", "-y").out.endswith("0 items.\n")
    assert run("resolve", "--as", "done", "--number", GOOD, "-y").out.endswith("1 item.\n")
    unfit = run("resolve", "--as", "done", "--item", ids[2], "--number", GOOD, "-y")
    assert unfit.out == "Decided as done: 0 items.\n"
    assert unfit.err == "1 of those named do not fit, or have no unknown outcome here.\n"
    left = lines_of(run("unknown", "--json"))
    assert [one["number"] for one in left] == [FAILS]


def lines_of(said: Said) -> list[dict[str, object]]:
    """Return a list that is printed as one JSON text."""
    listed: list[dict[str, object]] = json.loads(said.out)
    return listed


def test_webhooks_are_added_tested_replayed_and_removed(server: Yard) -> None:
    run = server.run
    assert "batchyard webhook add URL" in run("webhook", "list").out
    added = run("webhook", "add", "http://127.0.0.1:9/x", "--event", "batch.*")
    endpoint = added.out.split(":")[0]
    run("webhook", "add", "ftp://x").one_line("http")
    assert json.loads(run("webhook", "list", "--json").out)[0]["events"] == ["batch.*"]
    delivery = run("webhook", "test", endpoint).out.split()[2].rstrip(".")
    told = lines(run("webhook", "deliveries", "--json"))
    assert [(one["id"], one["type"]) for one in told] == [(delivery, "webhook.test")]
    assert "webhook.test" in run("webhook", "deliveries", "--endpoint", endpoint).out
    wait_until(lambda: run("webhook", "deliveries", delivery, "--json").code == 0)
    run("webhook", "replay").one_line("--failed")
    assert run("webhook", "replay", "--failed").out == "Deliveries sent once more: 0.\n"
    assert run("webhook", "replay", delivery).out.endswith(": 1.\n")
    (secret,) = run("webhook", "secret").out.split()
    assert run("webhook", "secret", "--rotate").out.split()[1] == secret
    assert "told nothing for now" in run("webhook", "disable", endpoint).out
    assert f"batchyard webhook enable {endpoint}" in run("webhook", "list").out
    assert run("webhook", "enable", endpoint).code == 0
    assert run("webhook", "remove", endpoint).code == 0
    run("webhook", "test", endpoint).one_line("no such endpoint")


def test_paused_by_a_restore_goes_on_together(server: Yard) -> None:
    team = server.team
    agent = server.do(make_agent(server.db, team=team))

    async def prepare() -> list[str]:
        ids = [
            await make_batch(server.db, team=team, state=BatchState.PAUSED),
            await make_batch(
                server.db,
                team=team,
                kind=Kind.CALL,
                agent_id=agent,
                state=BatchState.PAUSED,
                is_single=True,
            ),
        ]
        async with server.db.transaction() as conn:
            await conn.execute("UPDATE batches SET wait_reason = 'restored'")
        await make_batch(server.db, team=team, state=BatchState.PAUSED)
        return [str(one) for one in ids]

    restored = server.do(prepare())
    resumed = server.run("resume", "--all-restored")
    assert (sorted(resumed.out.split()), resumed.err) == (restored, "Batches that go on: 2.\n")
    assert {one["state"] for one in lines(server.run("batches", "--json"))} >= {"paused"}
    for id_ in restored:
        assert json.loads(server.run("batch", id_, "--json").out)["state"] != "paused"
