"""A small S3 server: keeps objects, and believes only requests that are signed (SigV4)."""

import asyncio
import hashlib
import hmac
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SECRET = "bucket-secret"
SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/"
    r"(?P<scope>(?P<day>\d+)/(?P<region>[^/]+)/s3/aws4_request), "
    r"SignedHeaders=(?P<headers>[^,]+), Signature=(?P<signature>[0-9a-f]{64})"
)


class BucketServer:
    """Objects by their paths; `is_out_of_order` answers 503, `is_removed` as if it never was."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.is_out_of_order = False
        self.is_removed = False

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        if self.is_out_of_order:
            return Response(status_code=503)
        if not is_signed(request, body):
            return Response(status_code=403)
        if self.is_removed:
            return Response("<Error><Code>NoSuchBucket</Code></Error>", status_code=404)
        path = request.url.path
        if request.method == "PUT":
            self.objects[path] = body
            return Response(headers={"ETag": f'"{hashlib.md5(body).hexdigest()}"'})  # noqa: S324
        if path not in self.objects:
            return Response(status_code=404)
        headers = {"ETag": '"1"', "Last-Modified": "Sun, 01 Mar 2026 12:00:00 GMT"}
        return Response(self.objects[path], headers=headers)


def is_signed(request: Request, body: bytes) -> bool:
    """Check the signature of a request (AWS Signature Version 4)."""
    match = SIGNED.fullmatch(request.headers.get("authorization", ""))
    if match is None:
        return False
    names = match["headers"].split(";")
    digest = request.headers["x-amz-content-sha256"]
    if digest not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
        return False
    canonical = "\n".join(
        (
            request.method,
            request.url.path,
            request.url.query,
            *(f"{name}:{request.headers[name].strip()}" for name in names),
            "",
            match["headers"],
            digest,
        )
    )
    key = f"AWS4{SECRET}".encode()
    for part in (match["day"], match["region"], "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    to_sign = "\n".join(
        (
            "AWS4-HMAC-SHA256",
            request.headers["x-amz-date"],
            match["scope"],
            hashlib.sha256(canonical.encode()).hexdigest(),
        )
    )
    return hmac.compare_digest(
        hmac.digest(key, to_sign.encode(), "sha256").hex(), match["signature"]
    )


@asynccontextmanager
async def serving(bucket: BucketServer) -> AsyncIterator[str]:
    """Serve on a free port; lend the address."""
    app = Starlette(routes=[Route("/{path:path}", bucket.answer, methods=["GET", "PUT", "HEAD"])])
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()  # Who comes before the server is ready waits.
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        task = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
