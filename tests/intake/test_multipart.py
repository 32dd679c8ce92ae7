"""Reading a multipart body in pieces."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.errors import InvalidRequest
from batchyard.intake.multipart import MultipartReader, PartData, PartEnd, PartStart, base_name

BODY = (
    b'--x\r\nContent-Disposition: form-data; name="agent_id"\r\n\r\nabc\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="C:\\lists\\a b.csv"\r\n'
    b"Content-Type: text/csv\r\n\r\n1,2\r\n3,4\r\n\r\n--x--\r\n"
)
TYPE = "multipart/form-data; boundary=x"


def read(body: bytes, *, size: int = 1000, content_type: str = TYPE) -> list[tuple[object, bytes]]:
    reader = MultipartReader(content_type)
    parts: list[tuple[object, bytes]] = []
    for start in range(0, len(body), size):
        for event in reader.feed(body[start : start + size]):
            match event:
                case PartStart():
                    parts.append(((event.name, event.file_name), b""))
                case PartData():
                    parts[-1] = (parts[-1][0], parts[-1][1] + event.data)
                case PartEnd():
                    pass
    reader.finish()
    return parts


@given(size=st.integers(1, 300))
def test_parts_come_back_whatever_the_chunks(size: int) -> None:
    assert read(BODY, size=size) == [
        (("agent_id", None), b"abc"),
        (("file", "a b.csv"), b"1,2\r\n3,4\r\n"),
    ]


@given(content=st.binary(), size=st.integers(1, 64))
def test_any_content_comes_back(content: bytes, size: int) -> None:
    request = httpx.Request("POST", "http://x", files={"file": ("ø.csv", content)})
    parts = read(request.read(), size=size, content_type=request.headers["content-type"])
    assert parts == [(("file", "ø.csv"), content)]


@pytest.mark.parametrize("length", [0, 10, 80, len(BODY) - 8])
def test_body_that_ends_early_is_refused(length: int) -> None:
    with pytest.raises(InvalidRequest, match="last boundary"):
        read(BODY[:length])


def test_body_that_is_no_multipart_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="malformed"):
        read(b'{"agent_id": 1}')


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=" + "x" * 300],
)
def test_other_media_types_are_refused(content_type: str) -> None:
    with pytest.raises(InvalidRequest, match="multipart"):
        MultipartReader(content_type)


@pytest.mark.parametrize(
    "given_name,kept",
    [
        ("a.csv", "a.csv"),
        ("../../etc/a.csv", "a.csv"),
        ("C:\\x\\a.csv", "a.csv"),
        ("a\0\n.csv", "a.csv"),
        ("lists/", ""),
        ("å" * 300, "å" * 255),
    ],
)
def test_file_name_is_a_base_name(given_name: str, kept: str) -> None:
    assert base_name(given_name) == kept
