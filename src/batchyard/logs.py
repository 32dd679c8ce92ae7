"""How logs look: one event per line on stderr, JSON unless a person watches at a terminal."""

import logging
import sys

import structlog
from structlog.typing import Processor

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
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
    ]
