"""What a route needs is found on the event loop: a thread for each would cost more than a list."""

import inspect
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from batchyard.api.bolna.routes import build_door as build_bolna
from batchyard.api.operator.routes import build_door as build_operator
from batchyard.api.smartsend.routes import build_door as build_smartsend
from batchyard.config import Config
from batchyard.engine.inbox import Inbox
from batchyard.store.db import Database


def no_inbox() -> Inbox:
    raise AssertionError("nothing is served")


def dependants(dependant: Dependant) -> Iterator[Dependant]:
    for inner in dependant.dependencies:
        yield inner
        yield from dependants(inner)


def routes(door: FastAPI) -> Iterator[APIRoute]:
    for route in door.routes:
        for one in getattr(getattr(route, "original_router", None), "routes", [route]):
            if isinstance(one, APIRoute):
                yield one


def is_async(call: object) -> bool:
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
        getattr(call, "__call__", None)  # noqa: B004  # classes that are called as functions are
    )


@pytest.mark.parametrize("name", ["bolna", "smartsend", "operator"])
def test_no_dependency_needs_a_thread(name: str) -> None:
    db = Database("postgresql://nowhere")
    doors = {
        "bolna": lambda: build_bolna(Config(), db),
        "smartsend": lambda: build_smartsend(Config(), db),
        "operator": lambda: build_operator(Config(), db, inbox=no_inbox),
    }
    calls = {
        inner.call
        for route in routes(doors[name]())
        for inner in dependants(route.dependant)
        if inner.call is not None
    }
    assert calls
    assert [call for call in calls if not is_async(call)] == []
