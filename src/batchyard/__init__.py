"""Batchyard: upload a list, watch it run, know what happened to every row."""

from importlib.metadata import version

__version__ = version("batchyard")
