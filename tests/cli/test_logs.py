"""No number and no name gets into the log of a running server, whatever goes wrong."""

import json
import os
from pathlib import Path

import httpx
import psycopg
import pytest

from batchyard.logs import describe_fault
from tests.cli.commands import running
from tests.cli.test_services import address

NUMBER = "+4520123456"
NAME = "Ingeborg Testesen"
LIST = "/api/v1/contacts/do-not-contact"
SPOILED = """
ALTER TABLE do_not_contact ADD CONSTRAINT spoiled CHECK (reason <> 'Ingeborg Testesen');
CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'spoiled' USING DETAIL = 'The number is ' || OLD.number;
END $$;
CREATE TRIGGER spoil BEFORE DELETE ON do_not_contact FOR EACH ROW EXECUTE FUNCTION spoil();
CREATE FUNCTION spoil_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM NEW.name::int;
    RETURN NEW;
END $$;
CREATE TRIGGER spoil BEFORE INSERT ON agents FOR EACH ROW EXECUTE FUNCTION spoil_deletion();
"""
"""PostgreSQL quotes a row, a detail, and a value."""


@pytest.mark.acceptance
def test_log_of_a_server_holds_no_number_and_no_name(database_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    settings = {
        "BATCHYARD_DATABASE_URL": database_url,
        "BATCHYARD_BOOTSTRAP_TOKEN": "by_logged",
        "BATCHYARD_LOG_LEVEL": "debug",
    }
    with running("serve", "--port", "0", log=log, **settings) as process:
        url = address(log, process)
        headers = {"Authorization": "Bearer by_logged", "Connection": "close"}
        with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
            answers = [
                client.post(LIST, json={"number": NUMBER}),
                client.delete(f"{LIST}/{NUMBER}"),
                client.delete(f"{LIST}/{NUMBER}"),
                client.post(LIST, json={"number": NUMBER}),
            ]
            assert [one.status_code for one in answers] == [201, 204, 404, 201]
            with psycopg.connect(database_url) as connection:
                connection.execute(SPOILED.encode())
            faults = [
                client.delete(f"{LIST}/{NUMBER}"),
                client.post(LIST, json={"number": "+4520123499", "reason": NAME}),
                client.post("/api/v1/agents", json={"name": NAME}),
                client.post("/v2/agent", json={"agent_config": {"agent_name": NAME}}),
            ]
            assert [one.status_code for one in faults] == [500] * 4
    text = log.read_text()
    told = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    routes = [one["route"] for one in told if one["event"] == "request.failed" and "route" in one]
    assert routes[:2] == [f"{LIST}/{{number}}", LIST]
    assert "P0001" in text
    assert "23514" in text
    assert "spoiled" in text
    assert "22P02" in text
    for trace in (NUMBER, NUMBER[1:], "4520123499", NAME, "Ingeborg", "DETAIL"):
        assert trace not in text


def test_fault_tells_where_and_why_it_came_about() -> None:
    try:
        try:
            os.environ["NOBODY_HAS_SET_THIS"]
        except KeyError as error:
            raise ValueError("nothing is set") from error
    except ValueError as error:
        told = describe_fault(error)
    first, second = told.split("The above exception was the direct cause")
    assert "KeyError: 'NOBODY_HAS_SET_THIS'" in first
    assert second.endswith("ValueError: nothing is set")
    assert second.count("test_logs.py") == 1
