import psycopg
import pytest

from batchyard.errors import ConfigError
from batchyard.store.urls import check_url, unreachable, will_answer_soon


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:p%40ss@host:5432/name?sslmode=require",
        "postgres:///name?host=/var/run/postgresql",
        "host=localhost dbname=name",
    ],
)
def test_url_that_libpq_understands_passes(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize("url", ["mysql://user:hidden@host/name", "hidden", "postgres//hidden@h"])
def test_url_that_libpq_does_not_understand_is_refused_unrepeated(url: str) -> None:
    with pytest.raises(ConfigError, match="BATCHYARD_DATABASE_URL") as refusal:
        check_url(url)

    assert "hidden" not in refusal.value.message


def test_unreachable_names_the_reason_of_many_lines() -> None:
    error = psycopg.OperationalError(
        'connection to server at "::1", port 5432 failed: Connection refused\n'
        "\tIs the server running on that host and accepting TCP/IP connections?\n"
    )

    message = unreachable(error).message

    assert "port 5432 failed: Connection refused. Check BATCHYARD_DATABASE_URL" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "said, is_soon",
    [
        ("FATAL:  the database system is starting up", True),
        ("FATAL:  the database system is in recovery mode", True),
        ("failed: Connection refused", False),
        ('FATAL:  password authentication failed for user "x"', False),
    ],
)
def test_server_that_only_starts_is_waited_for(said: str, *, is_soon: bool) -> None:
    assert will_answer_soon(psycopg.OperationalError(said)) is is_soon
