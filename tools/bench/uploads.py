"""Lists made up while they are sent by HTTP, so that no list is ever held."""

import http.client
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

BOUNDARY = "batchyard-bench"
PIECE_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 3600
NOTES = 1000
WORDS = ("delivery", "appointment", "reminder", "invoice", "thanks", "Göteborg", "Århus")
RANGES = ("+4520%06d", "+4670%07d", "+491512%07d", "+447700%06d")
"""Mobile numbers of four countries, each number once in 4,000,000 rows."""

MakeRows = Callable[[range], str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What the server said to an upload."""

    status: int
    body: bytes
    sent_bytes: int


def short_rows(numbers: range) -> str:
    """Write rows of a phone number, a name and an amount."""
    return "".join([f"{RANGES[n % 4] % (n // 4)},Name {n},{n}.50\r\n" for n in numbers])


def long_rows(row_bytes: int) -> MakeRows:
    """Return what writes rows of about so many bytes."""
    dice = random.Random(1)  # noqa: S311  # made-up rows
    notes = []
    for _ in range(NOTES):
        text = " ".join(dice.choices(WORDS, k=row_bytes // 5))
        notes.append(text.encode()[: row_bytes - 40].decode(errors="ignore"))

    def make(numbers: range) -> str:
        return "".join([f'+46{700_000_000 + n},Name {n},"{notes[n % NOTES]}"\r\n' for n in numbers])

    return make


def parts(
    make: MakeRows,
    *,
    rows: int,
    row_bytes: int,
    columns: str,
    fields: Mapping[str, str],
    first: int = 0,
) -> Iterator[bytes]:
    """Yield a multipart form of some fields and a CSV of the rows from `first` on, in pieces."""
    for name, value in fields.items():
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        yield f"{head}{value}\r\n".encode()
    yield (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="huge.csv"\r\n'
        f"Content-Type: text/csv\r\n\r\n{columns}\r\n"
    ).encode()
    block = max(1, PIECE_BYTES // row_bytes)
    for start in range(first, first + rows, block):
        yield make(range(start, min(first + rows, start + block))).encode()
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def upload(port: int, token: str, pieces: Iterator[bytes], *, path: str = "/batches") -> Answered:
    """Send a form in pieces."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    connection.putrequest("POST", path)
    connection.putheader("Authorization", f"Bearer {token}")
    connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    sent = 0
    for piece in pieces:
        connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        sent += len(piece)
    connection.send(b"0\r\n\r\n")
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return Answered(status=answer.status, body=body, sent_bytes=sent)
