"""Fakes of vendors that the tests of a run share: one process each, begun anew for each test."""

from collections.abc import Iterator

import pytest

from tests.providers.fakes.process import Fake, running


@pytest.fixture(scope="session")
def twilio_server() -> Iterator[Fake]:
    """Lend a fake Twilio; `change` lets it begin anew."""
    with running("twilio") as fake:
        yield fake


@pytest.fixture(scope="session")
def telnyx_server() -> Iterator[Fake]:
    """Lend a fake Telnyx; `change` lets it begin anew."""
    with running("telnyx") as fake:
        yield fake
