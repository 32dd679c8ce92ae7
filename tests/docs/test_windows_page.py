"""docs/windows.md names every reason for which a call is never made."""

from batchyard.contact_rules import Block
from tests.docs.pages import page, table


def test_every_code_is_explained() -> None:
    rows = table("docs/windows.md", headed="| code | rule | where it is set | default |")
    assert {row[0] for row in rows} == set(Block) - {Block.ZONE_UNKNOWN}
    assert f"`{Block.ZONE_UNKNOWN}`" in page("docs/windows.md")
