"""How logs look: one event per line on stderr, JSON unless a person watches at a terminal."""

import logging
import sys
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import TextIO

import structlog
from structlog.typing import ExcInfo, Processor

QUIET_LIBRARIES = (
    "asyncio",
    "fontTools",
    "httpcore",
    "httpx",
    "procrastinate",
    "psycopg",
    "psycopg.pool",
    "uvicorn",
    "yoyo",
)
"""They tell at `info` what is our own events' business; their warnings are kept."""


def set_up(level: str) -> None:
    """Send the events of Batchyard and of its libraries, from `level` on, to stderr."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(for_people=sys.stderr.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel("DEBUG" if level == "debug" else "WARNING")


def _rendering(*, for_people: bool) -> list[Processor]:
    if for_people:
        return [
            structlog.dev.ConsoleRenderer(exception_formatter=_write_fault),
        ]
    return [
        structlog.processors.ExceptionRenderer(_show_fault),
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
    ]


DATA_FAULTS = "22"
"""The class of SQL states whose message quotes what could not be read."""
CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


def name_route(scope: Mapping[str, object]) -> str | None:
    """Return the whole template of the route that a request met: the path may hold a number.

    FastAPI from 0.137 on leaves the prefix of an included router out of `scope["route"]`, and has
    the whole in what it notes beside it (https://github.com/fastapi/fastapi/issues/16051).
    """
    route, noted = scope.get("route"), scope.get("fastapi")
    whole = noted.get("effective_route_context") if isinstance(noted, Mapping) else None
    is_of_route = getattr(whole, "original_route", None) is route
    path = getattr(whole if is_of_route else route, "path", None)
    return None if path is None else str(path)


def describe_fault(error: BaseException) -> str:
    """Return a traceback without the data of people.

    Faults of PostgreSQL quote rows and parameters in their details, those of Pydantic what they
    were given: they are told by what kind they are, and where.
    """
    return "".join(_lines(error, seen=set())).rstrip("\n")


def _lines(error: BaseException, *, seen: set[int]) -> list[str]:
    seen.add(id(error))
    before: list[str] = []
    if error.__cause__ is not None and id(error.__cause__) not in seen:
        before = [*_lines(error.__cause__, seen=seen), CAUSE]
    elif (
        error.__context__ is not None
        and not error.__suppress_context__
        and id(error.__context__) not in seen
    ):
        before = [*_lines(error.__context__, seen=seen), CONTEXT]
    told = _sentence(error)
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    lines = [*before, *_stack(error.__traceback__), f"{kind}: {told}\n" if told else f"{kind}\n"]
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            if id(inner) not in seen:
                lines += ["\n", *_lines(inner, seen=seen)]
    return lines


def _stack(trace: TracebackType | None) -> list[str]:
    if trace is None:
        return []
    return ["Traceback (most recent call last):\n", *traceback.format_tb(trace)]


def _sentence(error: BaseException) -> str:
    # Told apart by what they have: to load psycopg and pydantic would slow every command down.
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        diag = getattr(error, "diag", None)
        names = ("constraint_name", "table_name", "column_name")
        facts = [state, *(str(getattr(diag, name, None) or "") for name in names)]
        message = str(getattr(diag, "message_primary", None) or "")
        if not state.startswith(DATA_FAULTS):
            facts.insert(0, message)
        return " ".join(fact for fact in facts if fact)
    if type(error).__module__.partition(".")[0] in {"pydantic", "pydantic_core"}:
        return "the value is not valid"
    return str(error)


def _show_fault(exc_info: ExcInfo) -> str:
    return describe_fault(exc_info[1])


def _write_fault(stream: TextIO, info: ExcInfo) -> None:
    stream.write(f"\n{describe_fault(info[1])}")
