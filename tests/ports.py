"""Ports of this machine for servers that are started more than once."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_port() -> Iterator[int]:
    """Lend a port that nobody else is given meanwhile, and at which a server may still listen.

    A port that is only looked up may become the near end of anybody's connection while its server
    is down, and stays that for a minute after the connection has ended.
    """
    with socket.socket() as kept:
        # Two that both say so may have one address, as long as this one does not listen.
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield int(kept.getsockname()[1])
