"""Which column is what."""

import gc
import weakref

import pytest

from batchyard.errors import InvalidRequest
from batchyard.intake.columns import (
    Columns,
    find_marks,
    first_meanings,
    header_hash,
    name_columns,
)
from batchyard.intake.synonyms import NUMBER_COLUMN, SYNONYMS, plain
from batchyard.models import Kind

CALLS = Columns()
SHIPMENTS = Columns(kind=Kind.SHIPMENT)
NEEDED = ["currency", "carrier", "service", "name", "address", "city", "country"]


@pytest.mark.parametrize(
    "cell",
    [
        "Phone",
        "MOBILE",
        "Tlf.",
        "Tlf. nr.",
        "tlf nr",
        "Telefon",
        "Téléphone mobile",
        "Cell Phone",
        "E.164",
    ],
)
def test_usual_names_of_the_number_are_known(cell: str) -> None:
    if cell in {"Téléphone mobile", "E.164"}:
        with pytest.raises(InvalidRequest):
            name_columns(["x", cell], CALLS)
        return
    header = name_columns(["x", cell], CALLS)
    assert header.names == ("x", NUMBER_COLUMN)
    assert header.guessed == (cell,)


def test_own_name_wins_over_a_synonym_and_the_more_usual_over_the_other() -> None:
    header = name_columns(["phone", "Contact_Number", "mobile"], CALLS)
    assert header.names == ("phone", NUMBER_COLUMN, "mobile")
    assert header.guessed == ()
    header = name_columns(["mobile", "phone"], CALLS)
    assert header.names == ("mobile", NUMBER_COLUMN)


def test_given_meaning_wins_and_may_leave_a_column_out() -> None:
    given = (("Nummer 2", NUMBER_COLUMN), ("Fornavn", "first_name"), ("phone", None))
    header = name_columns(["phone", "nummer 2 ", "FORNAVN"], Columns(given=given))
    assert header.names == (None, NUMBER_COLUMN, "first_name")
    assert header.guessed == ()
    assert not header.is_renamed
    assert header.mapping == {"phone": None, "nummer 2 ": NUMBER_COLUMN, "FORNAVN": "first_name"}


@pytest.mark.parametrize(
    "cells,mapping",
    [
        (["phone", "phone"], {"phone": NUMBER_COLUMN}),
        (["Phone", "phone"], {"Phone": NUMBER_COLUMN}),
        (["note", "phone", "note", "Note"], {"note": "note", "phone": NUMBER_COLUMN}),
    ],
)
def test_columns_of_one_name_mean_the_same_when_they_come_again(
    cells: list[str], mapping: dict[str, str]
) -> None:
    header = name_columns(cells, CALLS)
    assert header.mapping == mapping
    pairs = tuple(mapping.items())
    for columns in (Columns(given=pairs), Columns(remembered=pairs)):
        assert name_columns(cells, columns).names == header.names


def test_column_that_was_left_out_stays_so_when_it_comes_again() -> None:
    header = name_columns(
        ["phone", "phone", "cpr"], Columns(given=(("phone", None), ("cpr", None)))
    )
    assert header.names == (None, NUMBER_COLUMN, None)
    again = Columns(remembered=tuple(header.mapping.items()))
    assert name_columns(header.cells, again).names == header.names
    # Who names it anew means it.
    wanted = Columns(remembered=again.remembered, given=(("cpr", "cpr"),))
    assert name_columns(header.cells, wanted).names == (None, NUMBER_COLUMN, "cpr")


def test_first_file_that_has_a_name_says_what_it_means() -> None:
    pairs = [("Tlf", NUMBER_COLUMN), ("note", "note"), (" tlf", "tlf"), ("NOTE", None)]
    assert first_meanings(pairs) == (("Tlf", NUMBER_COLUMN), ("note", "note"))


@pytest.mark.parametrize("given", ["Customer\r\nname", "customer\rNAME ", "Customer\nname"])
@pytest.mark.parametrize("cell", ["Customer\nname", " Customer\r\nname"])
def test_line_breaks_in_names_are_alike_whoever_wrote_them(given: str, cell: str) -> None:
    for columns in (Columns(given=((given, "who"),)), Columns(remembered=((given, "who"),))):
        header = name_columns(["phone", cell], columns)
        assert header.names == (NUMBER_COLUMN, "who")
        assert header.cells == ("phone", cell)


@pytest.mark.parametrize(
    "cells,given,code",
    [
        (["a", "b"], (), "column_missing"),
        (["phone"], (("Nummer", NUMBER_COLUMN),), "column_missing"),
        (["phone", "b"], (("phone", NUMBER_COLUMN), ("b", NUMBER_COLUMN)), "mapping_ambiguous"),
        (["phone", *map(str, range(2000))], (), "columns_too_many"),
    ],
)
def test_columns_that_cannot_be_found_refuse_the_file(
    cells: list[str], given: tuple[tuple[str, str], ...], code: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        name_columns(cells, Columns(given=given))
    assert refused.value.code == code


def test_missing_columns_of_shipments_are_all_named() -> None:
    with pytest.raises(InvalidRequest) as refused:
        name_columns(["name", "zip"], SHIPMENTS)
    assert sorted(refused.value.faults) == [
        "currency",
        "delivery.carrier",
        "delivery.service",
        "parties.receiver.address.address_lines.0",
        "parties.receiver.address.city",
        "parties.receiver.address.country",
    ]


def test_columns_of_shipments_are_found_by_usual_names() -> None:
    header = name_columns([*NEEDED, "PLZ", "Vægt", "Tlf"], SHIPMENTS)
    assert header.names[-3:] == (
        "parties.receiver.address.postal_code",
        "parcels.0.gross_weight",
        "parties.receiver.contact.phone",
    )


def test_columns_of_a_mend_file_are_marks_and_no_variables() -> None:
    header = name_columns(["phone", "error_code", "error", "error_line", "item_id"], CALLS)
    assert header.names == (NUMBER_COLUMN, None, None, None, None)
    assert dict(header.marks) == {"error_code": 1, "error": 2, "error_line": 3, "item_id": 4}
    # They say nothing of a column that another file has under such a name.
    assert header.mapping == {"phone": NUMBER_COLUMN}
    again = Columns(remembered=tuple(header.mapping.items()))
    for columns in (CALLS, again):
        assert name_columns(["phone", "item_id"], columns).names == (NUMBER_COLUMN, "item_id")


class Name(str):
    """A name that one can wait for the end of."""

    __slots__ = ("__weakref__",)


def test_names_of_an_object_are_not_kept() -> None:
    for others in ((), (" Error_Code", "ERROR")):
        name = Name("a name as large as an object may be")
        assert dict(find_marks((name, *others))) == (
            {"error_code": 1, "error": 2} if others else {}
        )
        seen = weakref.ref(name)
        del name
        gc.collect()
        assert seen() is None


def test_same_header_has_the_same_hash() -> None:
    assert header_hash(["Phone ", "Name"]) == header_hash(["phone", "NAME"])
    assert header_hash(["a", "b"]) != header_hash(["ab"])
    assert header_hash(["a", "b"]) != header_hash(["b", "a"])


def test_synonyms_are_written_as_they_are_compared_and_mean_one_thing() -> None:
    for meanings in SYNONYMS.values():
        words = [word for synonyms in meanings.values() for word in synonyms]
        assert words == [plain(word) for word in words]
        assert len(set(words)) == len(words)
