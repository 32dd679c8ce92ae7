"""compose.yaml is not run here; what it says keeps to what the program needs."""

from typing import Any

import pytest
from ruamel.yaml import YAML

from batchyard.cli.services import LAST_RESORT_SECONDS, LEEWAY_SECONDS
from batchyard.config import Config
from tests.docs.pages import page

PREFIX = "BATCHYARD_"

COMPOSED: dict[str, Any] = YAML(typ="safe").load(page("compose.yaml"))
OURS = {name: one for name, one in COMPOSED["services"].items() if "build" in one}


def test_server_and_two_workers_are_there() -> None:
    assert {"server", "worker", "migrate"} <= set(OURS)
    assert OURS["worker"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("name", OURS)
def test_every_process_knows_database_public_address_and_key(name: str) -> None:
    given = OURS[name]["environment"]
    assert {"BATCHYARD_DATABASE_URL", "BATCHYARD_PUBLIC_URL", "BATCHYARD_SECRET_KEY"} <= set(given)
    assert {setting.removeprefix(PREFIX).lower() for setting in given} <= set(Config.model_fields)


@pytest.mark.parametrize("name", OURS)
def test_process_is_given_the_time_it_may_take_to_stop(name: str) -> None:
    whole = Config.model_fields["stop_seconds"].default + LEEWAY_SECONDS + LAST_RESORT_SECONDS
    grace = OURS[name]["stop_grace_period"]
    assert float(grace.removesuffix("s")) > whole
