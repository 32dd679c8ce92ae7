"""Batchyard: upload a list, watch it run, know what happened to every row."""

import importlib


def __getattr__(name: str) -> str:
    """Look the version up once somebody asks; that takes as long as all of `batchyard --help`."""
    if name != "__version__":
        raise AttributeError(name)
    found: str = importlib.import_module("importlib.metadata").version("batchyard")
    return found
