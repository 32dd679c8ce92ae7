"""Names of tests, and the addresses they lead to."""

import socket

import pytest


def resolve_to(
    monkeypatch: pytest.MonkeyPatch, *addresses: str, then: str | None = None
) -> list[str]:
    """Let every name have these addresses when first asked for; return what was asked."""
    asked: list[str] = []

    def answer(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        found = addresses if then is None or len(asked) == 1 else (then,)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    real = socket.getaddrinfo

    def look_up(host: str, port: int, *args: object, **named: object) -> object:
        if str(host).rstrip(".").endswith(".example"):
            return answer(host, port)
        return real(host, port, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def find_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no name that ends with `.invalid` be found; nobody is asked, who could be slow."""
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *args: object, **named: object) -> object:
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, port, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
