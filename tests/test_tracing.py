import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from structlog.testing import capture_logs

from batchyard import tracing
from batchyard.app import build_app
from batchyard.config import Config
from batchyard.store.db import Database
from tests import factories
from tests.cli.commands import call, running
from tests.cli.test_services import address
from tests.waiting import wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
NUMBER = "+4570123456"


class Listener(BaseHTTPRequestHandler):
    """Stands for the collector and for the provider."""

    spans: ClassVar[list[Span]]
    traceparents: ClassVar[list[str | None]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = b""
        if self.path == "/v1/traces":
            exported = ExportTraceServiceRequest.FromString(body)
            self.spans.extend(
                span
                for resource in exported.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            )
        else:
            self.traceparents.append(self.headers["traceparent"])
            answer = json.dumps({"status": "completed"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def listening() -> Iterator[str]:
    Listener.spans, Listener.traceparents = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def find(name: str) -> Span:
    return next(span for span in Listener.spans if span.name == name)


@pytest.mark.acceptance
def test_one_trace_leads_from_the_request_to_the_provider(
    database_url: str, tmp_path: Path
) -> None:
    settings = {
        "BATCHYARD_DATABASE_URL": database_url,
        "BATCHYARD_BOOTSTRAP_TOKEN": "by_traced",
        "BATCHYARD_STOP_SECONDS": "60",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    log = tmp_path / "log"
    with listening() as listener:
        settings["BATCHYARD_OTLP_ENDPOINT"] = listener
        with running("up", "--port", "0", log=log, **settings) as process:
            url = address(log, process)
            add = ("provider", "add", "p", "--kind", "http", "--url", f"{listener}/do")
            assert call(*add, "--policy", "neither", "--allow-private", **settings).returncode == 0
            route = ("route", "set", "--team", "default", "--kind", "call", "--provider", "p")
            assert call(*route, **settings).returncode == 0

            bearer = {"Authorization": "Bearer by_traced"}
            with httpx.Client(base_url=url, headers=bearer, timeout=60) as client:
                made = client.post("/v2/agent", json={"agent_config": {"agent_name": "Alfred"}})
                placed = client.post(
                    "/call",
                    json={"agent_id": made.json()["agent_id"], "recipient_phone_number": NUMBER},
                    headers={"traceparent": f"00-{TRACE}-{CALLER}-01"},
                )
            assert placed.status_code == 200, placed.text
            names = {"POST /call", "send p"}
            wait_until(lambda: names <= {span.name for span in Listener.spans}, timeout_seconds=60)
            process.terminate()
            assert process.wait(60) == 0

    served, sent = find("POST /call"), find("send p")
    assert {served.trace_id.hex(), sent.trace_id.hex()} == {TRACE}
    assert (served.parent_span_id.hex(), sent.parent_span_id) == (CALLER, served.span_id)
    assert Listener.traceparents == [f"00-{TRACE}-{sent.span_id.hex()}-01"]
    assert NUMBER not in str(Listener.spans)
    told = {one.key: one.value.string_value for one in sent.attributes}
    assert (told["batchyard.provider"], told["batchyard.answer"]) == ("p", "ended")


ID = "019a0000-0000-7000-8000-000000000001"
SPANS = {
    f"GET /batches/{ID}": "GET /batches/{batch_id}",
    f"GET /api/v2/team/north/shipments/{ID}": "GET /api/v2/team/{team}/shipments/{shipment}",
    f"GET /api/v1/items/{ID}": "GET /api/v1/items/{item_id}",
    f"PUT /api/v1/items/{ID}": "PUT /api/v1/items/{item_id}",
    f"GET /api/v1/webhooks/endpoints/{ID}": "GET /api/v1/webhooks/endpoints/{endpoint_id}",
    f"GET /ui/items/{ID}": "GET /ui/items/{item_id}",
    "GET /ui/": "GET /ui/",
    "GET /health/live": "GET /health/live",
    f"POST /callbacks/{ID}": "POST /callbacks/{token}",
}
"""What is asked of each door, and how its span is called."""


async def test_spans_are_called_by_the_whole_template_of_their_route(db: Database) -> None:
    transport = httpx.ASGITransport(app=build_app(Config(), db))
    with listening() as listener:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            with tracing.sending(listener, share=1):
                for asked in SPANS:
                    method, path = asked.split()
                    await client.request(method, path)
        wait_until(lambda: len(Listener.spans) >= len(SPANS))

    assert [span.name for span in Listener.spans] == list(SPANS.values())
    told = [{one.key: one.value.string_value for one in span.attributes} for span in Listener.spans]
    assert [f"{one['http.request.method']} {one['http.route']}" for one in told] == list(
        SPANS.values()
    )
    assert ID not in str(Listener.spans)


async def test_fault_is_told_by_its_type_and_holds_nobodys_number(db: Database) -> None:
    team = await factories.make_team(db)
    headers = {"Authorization": f"Bearer {await factories.make_token(db, team=team)}"}
    async with db.transaction() as conn:
        # As a broken constraint does, this tells the row that broke it.
        await conn.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE check_violation USING MESSAGE = 'refused ' || NEW.number,"
            " DETAIL = 'Failing row contains (' || NEW.number || ').'; END $$"
        )
        await conn.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON do_not_contact"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    transport = httpx.ASGITransport(app=build_app(Config(), db), raise_app_exceptions=False)
    with listening() as listener:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://test", headers=headers
        ) as client:
            with capture_logs(), tracing.sending(listener, share=1):
                answer = await client.post(
                    "/api/v1/contacts/do-not-contact", json={"number": NUMBER}
                )
        assert answer.status_code == 500
        wait_until(lambda: Listener.spans)

    served = find("POST /api/v1/contacts/do-not-contact")
    assert (served.status.code, served.status.message) == (
        Status.STATUS_CODE_ERROR,
        "CheckViolation",
    )
    assert NUMBER not in str(Listener.spans)
