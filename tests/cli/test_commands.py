import re
import socket
from pathlib import Path

import psycopg
import pytest

from tests.cli.commands import call

LOST_URL = "postgresql://someone:hidden@127.0.0.1:1/name"
COMMANDS = [
    ("up",),
    ("serve",),
    ("worker",),
    ("migrate",),
    ("team", "create", "Some Team"),
    ("token", "create", "--team", "default"),
]


def assert_one_line(result: object, *words: str) -> None:
    stderr = getattr(result, "stderr", "")
    assert getattr(result, "returncode", None) == 2, stderr
    assert stderr.startswith("batchyard: ")
    assert stderr.count("\n") == 1
    assert "Traceback" not in stderr
    assert "hidden" not in stderr
    for word in words:
        assert word in stderr


def count(url: str, table: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return row[0]


def test_help_shows_every_command_and_the_first_steps() -> None:
    result = call("--help")

    assert result.returncode == 0
    for command in ("up", "serve", "worker", "migrate", "team", "token"):
        assert re.search(rf"│ {command} ", result.stdout)
    assert "batchyard token create --team default" in result.stdout
    assert "BATCHYARD_DATABASE_URL" in result.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_a_command_names_the_data_folder(command: tuple[str, ...]) -> None:
    result = call(*command[:2] if command[0] in {"team", "token"} else command[:1], "--help")

    assert result.returncode == 0
    assert "--data-dir" in result.stdout


def test_version_is_shown() -> None:
    assert re.fullmatch(r"batchyard \d+\.\d+\.\d+\n", call("--version").stdout)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_command_without_its_database_ends_in_one_line(command: tuple[str, ...]) -> None:
    port = ("--port", "0") if command[0] in {"up", "serve"} else ()

    result = call(*command, *port, BATCHYARD_DATABASE_URL=LOST_URL)

    assert_one_line(result, "cannot be reached", "BATCHYARD_DATABASE_URL")


@pytest.mark.parametrize("host", ["db..internal", "x" * 64 + ".internal"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_database_on_a_host_of_no_valid_name_ends_in_one_line(
    command: tuple[str, ...], host: str
) -> None:
    port = ("--port", "0") if command[0] in {"up", "serve"} else ()

    result = call(*command, *port, BATCHYARD_DATABASE_URL=f"postgresql://u:hidden@{host}/x")

    assert_one_line(result, "no valid name", "BATCHYARD_DATABASE_URL")


def test_database_url_of_another_kind_ends_in_one_line() -> None:
    result = call("worker", BATCHYARD_DATABASE_URL="mysql://u:hidden@h/n")

    assert_one_line(result, "BATCHYARD_DATABASE_URL is not a URL that PostgreSQL understands")


def test_database_without_schema_names_migrate(empty_database_url: str) -> None:
    result = call("worker", BATCHYARD_DATABASE_URL=empty_database_url)

    assert_one_line(result, "batchyard migrate")


def test_setting_that_is_wrong_is_named() -> None:
    assert_one_line(call("up", BATCHYARD_PORT="hidden-away"), "BATCHYARD_PORT")


def test_data_folder_that_cannot_be_written_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    result = call("migrate", "--data-dir", str(tmp_path / "file" / "below"))

    assert_one_line(result, "cannot be written", "--data-dir")


def test_port_in_use_is_found_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = call("up", "--port", port, "--data-dir", str(tmp_path / "data"))

    assert_one_line(result, f"Port {port} of 127.0.0.1 is in use", "--port")
    assert not (tmp_path / "data").exists()


def test_address_of_another_machine_ends_in_one_line() -> None:
    assert_one_line(call("serve", "--host", "203.0.113.1"), "Cannot listen", "--host")


def test_address_of_no_valid_name_ends_in_one_line() -> None:
    assert_one_line(call("serve", "--port", "0", "--host", "a..b"), "no valid name", "--host")


def test_bootstrap_token_that_was_revoked_is_named(database_url: str) -> None:
    given = {
        "BATCHYARD_DATABASE_URL": database_url,
        "BATCHYARD_BOOTSTRAP_TOKEN": "by_hidden-and-leaked",
    }
    team = ("--team", "default")
    assert call("team", "list", **given).returncode == 0
    number = re.search(
        r"^\W*(\d+)\b.*bootstrap", call("token", "list", *team, **given).stdout, re.MULTILINE
    )
    assert number is not None
    assert call("token", "revoke", number[1], *team, **given).returncode == 0

    result = call("worker", **given)

    assert_one_line(result, "revoked", "BATCHYARD_BOOTSTRAP_TOKEN")


def test_migrate_then_team_then_token(empty_database_url: str) -> None:
    url = {"BATCHYARD_DATABASE_URL": empty_database_url}
    assert call("migrate", **url).returncode == 0
    assert call("migrate", **url).returncode == 0

    team = call("team", "create", "Ærø Færger", "--timezone", "Europe/Copenhagen", **url)
    assert team.returncode == 0, team.stderr
    token = call("token", "create", "--team", team.stdout.strip(), "--name", "a client", **url)

    assert token.returncode == 0, token.stderr
    assert re.fullmatch(r"by_[\w-]{43}\n", token.stdout)
    assert count(empty_database_url, "tokens WHERE name = 'a client'") == 1
    assert token.stdout.strip() not in token.stderr


def test_team_that_exists_ends_in_one_line(database_url: str) -> None:
    assert call("team", "create", "Twice", BATCHYARD_DATABASE_URL=database_url).returncode == 0

    result = call("team", "create", "Twice", BATCHYARD_DATABASE_URL=database_url)

    assert_one_line(result, "twice exists already")


def test_token_of_no_team_ends_in_one_line(database_url: str) -> None:
    result = call("token", "create", "--team", "nobody", BATCHYARD_DATABASE_URL=database_url)

    assert_one_line(result, "'nobody'", "batchyard team create")


def test_token_of_an_unknown_bolna_version_ends_in_one_line(database_url: str) -> None:
    result = call(
        *("token", "create", "--team", "default", "--bolna-version", "1999-01"),
        BATCHYARD_DATABASE_URL=database_url,
    )

    assert_one_line(result, "2026-08")


def read(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_team_has_the_language_it_was_given(database_url: str) -> None:
    url = {"BATCHYARD_DATABASE_URL": database_url}
    assert call("team", "create", "Dansk", "--locale", "da", **url).stdout == "dansk\n"
    assert call("team", "create", "Plain", **url).returncode == 0

    assert read(database_url, "SELECT locale FROM teams WHERE slug = 'dansk'") == "da"
    assert read(database_url, "SELECT locale FROM teams WHERE slug = 'plain'") == "en"
    assert_one_line(call("team", "create", "Odd", "--locale", "no such", **url), "no such")


def test_token_is_pinned_to_the_bolna_version_it_was_given(database_url: str) -> None:
    url = {"BATCHYARD_DATABASE_URL": database_url}
    create = ("token", "create", "--team", "default", "--name")

    pinned = call(*create, "pinned", "--bolna-version", "2026-08", **url)
    free = call(*create, "free", **url)

    assert (pinned.returncode, free.returncode) == (0, 0), pinned.stderr + free.stderr
    version = "SELECT bolna_version FROM tokens WHERE name = "
    assert read(database_url, f"{version} 'pinned'") == "2026-08"
    assert read(database_url, f"{version} 'free'") is None
