"""What a command is told to have said in these tests is the command's own."""

import structlog
import typer
from typer.testing import CliRunner


def test_what_is_logged_beside_a_command_is_not_its_output() -> None:
    app = typer.Typer()

    @app.command()
    def speak() -> None:
        structlog.get_logger("batchyard.worker").info("worker.started")
        typer.echo("said")

    result = CliRunner().invoke(app, [])

    assert (result.stdout, result.stderr) == ("said\n", "")
