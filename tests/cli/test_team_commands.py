"""What belongs to the team: the numbers it calls from, whom it never calls, where it sends from."""

import json
from pathlib import Path
from uuid import uuid4

from tests.cli.yard import Yard
from tests.factories import make_agent, make_team
from tests.providers.karrio_requests import SENDER

DANE = "+4520123456"


def test_number_is_added_given_to_an_agent_and_removed(server: Yard) -> None:
    run = server.run
    agent = str(server.do(make_agent(server.db, team=server.team, name="Anna")))
    other = server.do(make_agent(server.db, team=server.do(make_team(server.db))))
    for arguments, words in (
        (("20123456",), ("20123456", "+4520123456")),
        (("+4520000001", "+45 20"), ("+45 20",)),
        (("+4520000001", "--agent", uuid4()), ("no such agent",)),
        (("+4520000001", "--agent", other), ("no such agent",)),
        (("+4520000001", "--agent", "Bo"), ("no agent 'Bo'", "Anna")),
    ):
        run("number", "add", *arguments).one_line(*words)
    assert json.loads(run("number", "list", "--json").out) == []

    assert run("number", "add", "+4520000001", "+4520000002").code == 0
    assert run("number", "add", "+4520000002", "--agent", "Anna").code == 0
    listed = json.loads(run("number", "list", "--json").out)
    assert [(one["number"], one["agent_id"]) for one in listed] == [
        ("+4520000001", None),
        ("+4520000002", agent),
    ]
    table = run("number", "list").out.splitlines()
    assert table[1].split()[:2] == ["+4520000001", "all"]
    assert run("number", "remove", "+4520000001").code == 0
    run("number", "remove", "+4520000001").one_line("no number +4520000001")


def test_number_that_is_not_contacted_is_added_listed_and_removed(server: Yard) -> None:
    run = server.run
    for arguments, words in (
        (("20123456",), ("country code",)),
        ((DANE, "--until", "soon"), ("'soon'",)),
        ((DANE, "--until", "2020-01-01"), ("has passed",)),
    ):
        run("dnc", "add", *arguments).one_line(*words)
    run("dnc", "remove", DANE).one_line("not on the do-not-contact list")
    assert json.loads(run("dnc", "list", "--json").out) == []

    options = ("--reason", "asked", "--until", "2999-01-01")
    assert DANE in run("dnc", "add", "+45 20 12 34 56", *options).out
    assert run("dnc", "add", "+12125550123").code == 0
    first, second = json.loads(run("dnc", "list", "--json").out)
    assert (first["number"], first["until"], first["source"]) == ("+12125550123", None, "person")
    assert (second["number"], second["reason"]) == (DANE, "asked")
    assert second["until"].startswith("2999-01-01T00:00:00")
    assert "for ever" in run("dnc", "list").out
    assert run("dnc", "remove", DANE).code == 0
    assert len(json.loads(run("dnc", "list", "--json").out)) == 1


def test_mapping_is_kept_offered_used_and_forgotten(server: Yard, tmp_path: Path) -> None:
    run = server.run
    server.do(make_agent(server.db, team=server.team, name="Anna"))
    file = tmp_path / "crm.csv"
    file.write_text(f"Navn,Mobil,Nummer 2\n\u00c5se,{DANE},x\n", encoding="utf-8")
    assert "batchyard mapping save" in run("mapping", "list").out
    save = ("mapping", "save", "our crm")
    run(*save, "--map", "Mobil").one_line("'Mobil'", "Mobil=contact_number")
    run(*save, "--map", "Mobil=contact_number", "--header", "/nowhere").one_line("/nowhere")
    run(*save, "--kind", "shipment", "--map", "Mobil=nowhere").one_line("nowhere")

    said = ("--map", "Mobil=contact_number", "--map", "Navn=name", "--map", "Nummer 2=")
    kept = run(*save, *said, "--header", file)

    assert kept.code == 0, kept.err
    assert "--mapping 'our crm'" in kept.out
    (listed,) = json.loads(run("mapping", "list", "--json").out)
    assert (listed["kind"], listed["name"]) == ("call", "our crm")
    meanings = {"Mobil": "contact_number", "Navn": "name", "Nummer 2": None}
    assert listed["mapping"] == meanings
    shown = run("mapping", "list").out
    assert all(f"{column}={meaning or ''}" in shown for column, meaning in meanings.items())

    upload = ("calls", file, "--agent", "Anna", "--no-start")
    assert "A mapping is kept for this header; --mapping 'our crm'" in run(*upload).out
    used = run(*upload, "--again", "--mapping", "our crm")
    assert (used.code, "A mapping is kept" in used.out) == (0, False), used.err

    assert run("mapping", "remove", "our crm").code == 0
    run("mapping", "remove", "our crm").one_line("no mapping 'our crm'")


def test_mapping_is_kept_for_a_header_in_an_encoding_that_is_said(
    server: Yard, tmp_path: Path
) -> None:
    run = server.run
    server.do(make_agent(server.db, team=server.team, name="Anna"))
    file = tmp_path / "crm.csv"
    file.write_text(f"Mobil,\u0418\u043c\u044f\n{DANE},\u0410\u043d\u044f\n", encoding="cp1251")
    save = ("mapping", "save", "crm", "--map", "Mobil=contact_number")
    run(*save, "--header", file, "--encoding", "klingon").one_line("no encoding 'klingon'")

    kept = run(*save, "--header", file, "--encoding", "windows-1251")

    assert kept.code == 0, kept.err
    upload = run("calls", file, "--agent", "Anna", "--no-start", "--encoding", "windows-1251")
    assert "A mapping is kept for this header; --mapping crm" in upload.out


def test_sender_is_set_from_a_file_and_shown(server: Yard, tmp_path: Path) -> None:
    run = server.run
    for text, words in (
        ("{", ("not JSON",)),
        ("[]", ("no sender",)),
        (json.dumps({"address": SENDER["address"]}), ("contact", "Field required")),
        (json.dumps({**SENDER, "contact": {"name": "x"}}), ("contact.name_lines", "contact.name:")),
    ):
        run("sender", "set", "--file", "-", stdin=text).one_line(*words)
    run("sender", "set", "--file", "/nowhere").one_line("/nowhere")
    empty = run("sender", "show")
    assert (empty.code, "batchyard sender set" in empty.err) == (1, True)
    file = tmp_path / "sender.json"
    file.write_text(json.dumps(SENDER))
    assert run("sender", "set", "--file", file).out == "The team sends from Aarhus, DK.\n"
    assert json.loads(run("sender", "show").out) == SENDER
