"""Look at a page as people with all kinds of eyes and screens do."""

from pathlib import Path
from typing import Literal

from playwright.async_api import Page

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """
async (only) => {
    const options = only ? { runOnly: only } : {};
    const found = await axe.run(document, { ...options, resultTypes: ["violations"] });
    return found.violations.map(one => `${one.id}: ${one.nodes.map(node => node.html)}`);
}
"""
OVERHANG = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
ALL = None
CONTRAST = ["color-contrast"]
SIGHTS: tuple[tuple[int, Literal["light", "dark"], list[str] | None], ...] = (
    (360, "dark", ALL),
    (360, "light", CONTRAST),
    (1440, "dark", CONTRAST),
    (1440, "light", ALL),
)
"""A telephone by night and a desk by day see everything; colours alone differ between them."""


async def check_page(page: Page) -> None:
    """Find a page accessible and no wider than the screen, on each screen in light and dark."""
    await page.evaluate(AXE)
    for width, scheme, only in SIGHTS:
        await page.set_viewport_size({"width": width, "height": 900})
        await page.emulate_media(color_scheme=scheme)
        violations = await page.evaluate(RUN_AXE, only)
        assert violations == [], f"{width}, {scheme}: {violations}"
        assert await page.evaluate(OVERHANG) <= 0, width
