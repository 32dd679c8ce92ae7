"""What the package says of itself is true."""

import tomllib
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_package_that_is_called_typed_has_the_mark_of_it_in_the_wheel() -> None:
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "Typing :: Typed" in whole["project"]["classifiers"]
    assert files("batchyard").joinpath("py.typed").is_file()
    # A wheel gets the whole folder, unless something is left out.
    wheel = whole["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["src/batchyard"]
    assert {"exclude", "include", "only-include", "ignore-vcs"} & set(wheel) == set()
