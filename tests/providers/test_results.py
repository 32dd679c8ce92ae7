"""The published words and schemas are the ones that are lived by."""

import pytest
from jsonschema import Draft202012Validator

from batchyard.errors import InvalidRequest
from batchyard.lifecycle import (
    CANCELED_STATUS,
    ENDED_STATUSES,
    LIVE_STATUSES,
    STOPPED_STATUS,
    SUCCESS_STATUS,
)
from batchyard.models import Ended, Kind
from batchyard.providers.http_settings import HttpSettings
from batchyard.providers.results import (
    FINAL_STATUSES,
    PROGRESS_STATUSES,
    REJECTED_STATUS,
    check_answer,
    check_result,
    read_json,
    read_schema,
)
from batchyard.providers.sandbox import fate
from tests.docs.pages import page, table
from tests.providers.requests import make_call, make_shipment

HTTP = "docs/providers/http.md"

OURS = {
    # The end of a batch is never an answer of a provider, and a shipment is not cancelled by one.
    Kind.CALL: {STOPPED_STATUS},
    Kind.SHIPMENT: {STOPPED_STATUS, CANCELED_STATUS},
}


@pytest.mark.parametrize("kind", Kind)
def test_words_of_providers_are_words_of_the_lifecycle(kind: Kind) -> None:
    assert PROGRESS_STATUSES[kind] == LIVE_STATUSES[kind]
    assert set(FINAL_STATUSES[kind]) == set(ENDED_STATUSES[kind]) - OURS[kind]
    assert SUCCESS_STATUS[kind] in FINAL_STATUSES[kind]
    assert REJECTED_STATUS[kind] in FINAL_STATUSES[kind]


@pytest.mark.parametrize("name", ["answer", "call-result", "shipment-result"])
def test_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(dict(read_schema(name)))


def test_page_names_every_setting_and_its_default() -> None:
    rows = {
        name: default for name, default, _ in table(HTTP, headed="| setting | default | meaning |")
    }
    assert set(rows) == set(HttpSettings.model_fields)
    for name, field in HttpSettings.model_fields.items():
        said = rows[name]
        match field.default:
            case frozenset() as statuses:
                assert {int(one) for one in said.split(",")} == statuses
            case int() | float() as number:
                assert float(said) == number
            case str() as word:
                assert said == word
            case _:
                assert said == ""


def test_page_names_the_words_of_each_kind() -> None:
    rows = table(HTTP, headed="| kind | intermediate statuses, in order | final statuses |")
    said = {
        kind: (one.replace("`", "").split(), two.replace("`", "").split())
        for kind, one, two in rows
    }
    for kind in Kind:
        assert said[kind] == (list(PROGRESS_STATUSES[kind]), list(FINAL_STATUSES[kind]))


@pytest.mark.parametrize("kind", Kind)
def test_page_names_every_key_of_a_result(kind: Kind) -> None:
    properties = read_schema(f"{kind}-result")["properties"]
    assert isinstance(properties, dict)
    assert [name for name in properties if f"`{name}`" not in page(HTTP)] == []


def test_results_of_the_sandbox_keep_to_the_schemas() -> None:
    requests = [make_call(f"+1212555{n:04d}", item=n) for n in range(100)]
    requests += [make_shipment(str(9800 + n), item=n) for n in range(100)]
    for request in requests:
        ending = fate(request, "schema").ending
        assert isinstance(ending, Ended)
        check_result(request.kind, dict(ending.result))
        check_answer(request.kind, {"status": ending.status, "result": dict(ending.result)})


def test_unknown_keys_are_kept() -> None:
    answer = {"status": "completed", "mood": 1, "result": {"mood": {"deep": [1, None]}}}
    assert check_answer(Kind.CALL, answer) == answer


def test_fault_names_where_it_is() -> None:
    result = {"parcels": [{"tracking_code": "a"}, {"tracking_code": ""}]}
    with pytest.raises(InvalidRequest, match=r"result\.parcels\.1\.tracking_code"):
        check_result(Kind.SHIPMENT, result)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"NaN", b"[1e999]", b'"\\ud800"', b"\xff", b"[" * 100 + b"]" * 100]
)
def test_json_that_cannot_be_kept_is_none(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_json(body)
