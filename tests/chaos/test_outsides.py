"""What `make chaos` is run over."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from batchyard.testing import HttpServer
from tests.chaos.__main__ import list_conditions, read_arguments
from tests.chaos.counting_server import World
from tests.chaos.judge import Deed, is_explained
from tests.chaos.processes import FOLDER, fake
from tests.chaos.report import describe_specification
from tests.chaos.vendors import KARRIO, TELNYX, TWILIO, TWINS, VENDORS


@pytest.mark.parametrize(
    "words,outsides",
    [
        ("", ["counting", "karrio", "twilio", "telnyx"]),
        ("--kills 5 --items 100", ["counting", "karrio", "twilio", "telnyx"]),
        ("--short", ["counting"]),
        ("--short --provider telnyx", ["telnyx"]),
        ("--provider counting", ["counting"]),
    ],
)
def test_chaos_goes_over_every_outside_unless_one_is_named(words: str, outsides: list[str]) -> None:
    conditions = list_conditions(read_arguments(words.split()))

    assert [one.vendor.name if one.vendor else "counting" for one in conditions] == outsides


def test_no_vendor_is_left_out_and_each_is_broken_as_often() -> None:
    conditions = list_conditions(read_arguments(["--kills", "5", "--items", "100"]))

    assert {one.vendor.name for one in conditions if one.vendor} == set(VENDORS)
    assert {(one.kills, one.items) for one in conditions} == {(5, 100)}


def test_some_calls_share_a_number_and_none_that_somebody_else_calls_too() -> None:
    calls = Counter(str(TWILIO.number(n)) for n in range(1000))

    assert Counter(calls.values()) == {1: 700, 3: 100}
    assert {count for number, count in calls.items() if number.endswith(TWINS)} == {1}


@pytest.mark.parametrize(
    "faults,is_excused",
    [
        ([], False),
        (["reset_after"], True),
        (["twin"], False),
        (["twin", "callback doubled"], False),
        (["reset_before", "twin"], False),
        (["reset_after", "twin"], True),
        (["late", "twin", "callback lost"], True),
    ],
)
def test_call_of_somebody_else_explains_only_what_became_of_a_lost_answer(
    faults: Sequence[str], *, is_excused: bool
) -> None:
    deed = Deed(key="a.1", attempt=1, effects=1, status="completed", faults=faults)

    assert is_explained(deed) is is_excused


def test_report_says_what_exchanges_are_held_against(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, "specs")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "karrio-openapi.yml").touch()

    assert describe_specification(KARRIO) == "karrio-openapi.yml"
    assert describe_specification(TWILIO).startswith("NOTHING: BATCHYARD_VENDOR_SPECS names no")
    assert describe_specification(TELNYX) == "the types of its library"
    monkeypatch.delenv(FOLDER)
    assert describe_specification(KARRIO).startswith("NOTHING: ")


def test_fake_that_runs_elsewhere_finds_the_specifications(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, "specs")
    monkeypatch.chdir(tmp_path)

    settings = fake("twilio", port=1, options=(), folder=tmp_path / "elsewhere").settings

    assert settings[FOLDER] == str(tmp_path / "specs")


async def test_effect_that_would_come_later_than_is_promised_does_not_come() -> None:
    world = World(seed=2, timeout_seconds=0, settle_seconds=0)
    body = {"item": "a", "kind": "call", "callback_url": "http://127.0.0.1:9/"}
    async with HttpServer(world.handle) as server, httpx.AsyncClient(timeout=60) as client:
        with pytest.raises(httpx.TransportError):
            await client.post(
                f"{server.url}/askable/do", headers={"Idempotency-Key": "a.1"}, json=body
            )
        ledger = (await client.get(f"{server.url}/ledger")).json()

    assert ledger["deeds"]["a.1"]["effects"] == 0
    assert ledger["deeds"]["a.1"]["faults"] == ["too late"]
