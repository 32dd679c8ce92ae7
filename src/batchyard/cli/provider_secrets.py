"""Secrets of providers: from files or a prompt, never from the command line."""

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from getpass import getpass
from pathlib import Path

from pydantic import BaseModel

from batchyard.errors import InvalidRequest

LONGEST_SECRET_BYTES = 64 * 1024


Secrets = str | Mapping[str, str]
"""A whole secret, or some by name."""


def read_secret(model: type[BaseModel] | None, given: Sequence[str]) -> str | None:
    """Return what is stored of the secrets named as `FILE` or `NAME=FILE`, where - is a prompt.

    Of a kind that names its secrets, one that is needed and not given is asked for. Raises
    `InvalidRequest`.
    """
    if model is None:
        return _read_only(given)
    fields = model.model_fields
    files = _name_files(model, given)
    missing = [name for name, field in fields.items() if field.is_required() and name not in files]
    if missing and not sys.stdin.isatty():
        raise InvalidRequest(
            f"The secret {missing[0]} is needed: --secret-file {missing[0]}=FILE, - for standard "
            "input."
        )
    files |= dict.fromkeys(missing, "-")
    secrets = {name: _read(file, name.replace("_", " ")) for name, file in files.items()}
    return json.dumps(secrets) if secrets else None


def read_new_secret(model: type[BaseModel] | None, given: Sequence[str]) -> Secrets | None:
    """Return the secrets that are named as `FILE` or `NAME=FILE`; None where none is.

    Raises `InvalidRequest`.
    """
    if model is None or not given:
        return _read_only(given)
    files = _name_files(model, given)
    return {name: _read(file, name.replace("_", " ")) for name, file in files.items()}


def _read_only(given: Sequence[str]) -> str | None:
    if len(given) > 1:
        raise InvalidRequest("This kind has one secret; say --secret-file once.")
    return _read(given[0], "Secret") if given else None


def _name_files(model: type[BaseModel], given: Sequence[str]) -> dict[str, str]:
    fields = model.model_fields
    first = next(iter(fields))
    return dict(_split(text, fields, first) for text in given)


def _split(text: str, names: Collection[str], first: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    return (name, file) if equals and name in names else (first, text)


def _read(file: str, what: str) -> str:
    """Read a secret: never from the command line, which every user of a machine can see."""
    try:
        if file == "-":
            content = getpass(f"{what}: ") if sys.stdin.isatty() else sys.stdin.read()
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(LONGEST_SECRET_BYTES).decode()
    except (OSError, UnicodeError) as error:
        raise InvalidRequest(f"The secret cannot be read from {file}: {error}.") from error
    if not content.strip():
        raise InvalidRequest("The secret is empty.")
    return content.strip()
