"""`batchyard worker`."""

import socket

from tests.cli.commands import call
from tests.cli.test_commands import assert_one_line


def test_metrics_port_in_use_ends_in_one_line(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        result = call("worker", BATCHYARD_DATABASE_URL=database_url, BATCHYARD_METRICS_PORT=port)
    assert_one_line(result, f"Port {port} of 127.0.0.1 is in use", "BATCHYARD_METRICS_PORT")


def test_host_of_metrics_that_is_not_here_ends_in_one_line(database_url: str) -> None:
    result = call(
        "worker",
        BATCHYARD_DATABASE_URL=database_url,
        BATCHYARD_HOST="192.0.2.1",
        BATCHYARD_METRICS_PORT="9100",
    )
    assert_one_line(result, "port 9100 of 192.0.2.1", "BATCHYARD_HOST")


def test_host_of_metrics_of_no_valid_name_ends_in_one_line(database_url: str) -> None:
    result = call(
        "worker",
        BATCHYARD_DATABASE_URL=database_url,
        BATCHYARD_HOST="a..b",
        BATCHYARD_METRICS_PORT="9100",
    )
    assert_one_line(result, "no valid name", "BATCHYARD_HOST")
