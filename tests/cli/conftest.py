"""What tests of the commands share."""

from collections.abc import Iterator

import pytest

from tests.cli.yard import Yard, yard
from tests.conftest import lend_database
from tests.folders import make_folder


@pytest.fixture(scope="module")
def module_yard(postgres_folder: str) -> Iterator[Yard]:
    """Start one server and worker for all tests of a module."""
    for url in lend_database(postgres_folder):
        with yard(url, folder=make_folder()) as one:
            yield one


@pytest.fixture
def server(module_yard: Yard) -> Yard:
    """Lend the server of the module, to speak for a team that has nothing yet."""
    module_yard.new_team()
    return module_yard
