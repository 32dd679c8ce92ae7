"""No route answers with another team's data: generated from the routes."""

from fastapi.routing import APIRoute

from batchyard.api.operator.routes import PREFIX, ROUTERS
from batchyard.models import BatchState, Kind
from tests import factories
from tests.api.operator.conftest import Client, Clients

HOOK = "https://hooks.example.com/batchyard"
NUMBER = "+4520123456"
BODIES: dict[str, object] = {
    "/batches/{batch_id}/rows": {"rows": [{"contact_number": NUMBER}]},
    "/batches/{batch_id}/mend": {"rows": [{"contact_number": NUMBER}]},
    "/items/{item_id}": {"payload": {}},
    "/users/{user_id}/password": {"password": "correct horse battery"},
}
"""Where an empty body would be refused before anything is looked up."""
OF_EACH_TEAM = {("PUT", "/mappings/{kind}/{name}")}
"""Names that every team has for itself: the other team writes its own."""


async def fill(owner: Client) -> dict[str, str]:
    """Make one of everything that has an id; return the ids by the names of the routes."""
    batch_id = await factories.make_batch(
        owner.db, team=owner.team, kind=Kind.CALL, state=BatchState.STOPPED
    )
    [item_id] = await factories.make_items(
        owner.db, team=owner.team, batch_id=batch_id, number=NUMBER
    )
    endpoint = (await owner.post("/webhooks/endpoints", {"url": HOOK})).json()["id"]
    sent = await owner.post(f"/webhooks/endpoints/{endpoint}/test")
    await owner.post("/contacts/do-not-contact", {"number": NUMBER})
    user = {"name": "Ann", "email": "ann@example.com", "password": "correct horse battery"}
    await owner.post("/users", user)
    mapping = {"mapping": {"Mobil": "contact_number"}}
    await owner.http.put(f"{PREFIX}/mappings/call/crm", json=mapping)
    rows = {"kind": "shipment", "rows": [{"currency": "X"}]}
    return {
        "upload_id": (await owner.post("/batches", rows)).json()["batch_id"],
        "kind": "call",
        "name": "crm",
        "batch_id": str(batch_id),
        "item_id": str(item_id),
        "endpoint_id": endpoint,
        "delivery_id": sent.json()["delivery_id"],
        "number": NUMBER,
        "token_id": str((await owner.get("/tokens")).json()["data"][0]["id"]),
        "user_id": (await owner.get("/users")).json()["data"][0]["id"],
    }


async def test_every_route_with_an_id_of_another_team_is_not_found(clients: Clients) -> None:
    owner = await clients.of(await factories.make_team(clients.db))
    other = await clients.of(await factories.make_team(clients.db))
    ids = await fill(owner)
    routes = [r for router in ROUTERS for r in router.routes if isinstance(r, APIRoute)]
    asked = [route for route in routes if route.param_convertors]
    assert len(asked) > 25
    for route in asked:
        path = PREFIX + route.path_format.format(**ids)
        method = next(iter(route.methods or ()))
        if (method, route.path_format) in OF_EACH_TEAM:
            continue
        answer = await other.http.request(method, path, json=BODIES.get(route.path, {}))
        assert answer.status_code == 404, (method, path, answer.text)
    assert (await other.get("/audit")).json()["data"] == []
