"""What the bench does with its figures, apart from measuring them."""

from pathlib import Path

import pytest

from tools.bench import kept
from tools.bench.figures import Line, Rates, percentile
from tools.bench.kept import Measured


def measured(title: str, *, at: str = "10:00", is_met: bool | None = True) -> Measured:
    line = Line(title=title, figures="5 items/s", goal="≥ 4", is_met=is_met)
    conditions = {"machine": "2 cores", "when": at}
    return Measured(is_full=True, seconds=3.0, conditions=conditions, lines=[line])


def test_ratio_is_the_middle_of_the_rounds() -> None:
    rates = Rates()
    for ours, floor in ((10.0, 20.0), (30.0, 30.0), (8.0, 10.0)):
        rates.add("ours", ours)
        rates.add("floor", floor)
    assert rates.ratio("ours", to="floor") == 0.8
    assert rates.spread("ours") == "10.0 items/s (8.00 to 30.0, n 3)"


def test_percentile_is_never_exceeded_by_more() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0], 0.99) == 1.0


def test_rows_are_kept_one_by_one_and_become_the_page_s_table(tmp_path: Path) -> None:
    file, page = tmp_path / "run.json", tmp_path / "page.md"
    page.write_text(f"before\n{kept.BEGIN}\nold\n{kept.END}\nafter\n", encoding="utf-8")
    assert kept.read(file) == {}

    rows = {"drains": measured("a drain")}
    kept.write(file, rows)
    rows = kept.read(file) | {"lists": measured("a list", at="11:00", is_met=False)}
    kept.write(file, rows)
    assert kept.read(file) == rows

    kept.write_page(page, rows)
    text = page.read_text(encoding="utf-8")
    assert "| a drain | 5 items/s |  | ≥ 4 | met |" in text
    assert "| a list | 5 items/s |  | ≥ 4 | short |" in text
    assert "* when: 10:00 to 11:00" in text
    assert text.startswith("before")
    assert text.endswith("after\n")
    assert "old" not in text


def test_page_without_a_place_for_the_table_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the lines"):
        kept.write_page(page, {})
