"""Take pictures of the dashboard: a demo runs, a browser looks at every page.

python tools/screens.py                 the pictures of docs/screens/
python tools/screens.py --all FOLDER    every page, at both widths, light and dark
"""

import argparse
import asyncio
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from io import BytesIO
from pathlib import Path

import httpx
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

ROOT = Path(__file__).parent.parent
SCREENS = ROOT / "docs" / "screens"
COLOURS = 256
START_SECONDS = 120
WIDE, NARROW = 1440, 360
HEIGHT = 900
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

ROWS = "".join(
    f"+45201{n:05};Guest {n};{'Ribe' if n % 3 else 'Ærø'};2026-12-{n % 28 + 1:02} 14:30\n"
    for n in range(400)
)
LIST = f"Telefon;Navn;By;Tid\n{ROWS}+4520I23412;Carl;Ry;\n;Dora;Ribe;\n+45 20;Eve;Hobro;\n"

KEPT = (
    ("sign-in", WIDE, "light"),
    ("overview", WIDE, "light"),
    ("new", WIDE, "light"),
    ("rehearsal", WIDE, "light"),
    ("question", WIDE, "light"),
    ("batch", WIDE, "light"),
    ("batch", WIDE, "dark"),
    ("batches", WIDE, "light"),
    ("item", WIDE, "light"),
    ("refused", WIDE, "light"),
    ("results", WIDE, "light"),
    ("events", WIDE, "light"),
    ("batch-settings", WIDE, "light"),
    ("providers", WIDE, "light"),
    ("limits", WIDE, "light"),
    ("webhooks", WIDE, "light"),
    ("do-not-contact", WIDE, "light"),
    ("tokens", WIDE, "light"),
    ("people", WIDE, "light"),
    ("audit", WIDE, "light"),
    ("sign-in", NARROW, "light"),
    ("overview", NARROW, "dark"),
    ("new", NARROW, "light"),
    ("rehearsal", NARROW, "light"),
    ("batch", NARROW, "light"),
    ("batches", NARROW, "light"),
    ("item", NARROW, "light"),
    ("refused", NARROW, "light"),
    ("limits", NARROW, "light"),
)
"""What docs/screens/ holds."""


class DemoEnded(Exception):
    """The demo ended by itself."""


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page, every way")
    folder = parser.parse_args().all
    with tempfile.TemporaryDirectory() as data_dir, demo(Path(data_dir)) as (url, token):
        asyncio.run(take(url, token, folder))


@contextmanager
def demo(data_dir: Path) -> Iterator[tuple[str, str]]:
    """Run the demo in a folder; yield its address and a token once both lists have ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # As root, PostgreSQL runs as a user of its own and has to get in.
    data_dir.chmod(0o755)
    log = (data_dir / "log").open("wb")
    process = subprocess.Popen(  # noqa: S603  # ours
        [
            Path(sys.executable).with_name("batchyard"),
            "demo",
            "--port",
            str(port),
            "--data-dir",
            str(data_dir / "data"),
        ],
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        token = data_dir / "data" / "demo-token"
        asyncio.run(_until_ready(process, url, token))
        yield url, token.read_text(encoding="ascii").strip()
    except DemoEnded:
        raise SystemExit((data_dir / "log").read_text(encoding="utf-8")) from None
    finally:
        process.terminate()
        process.wait(20)
        log.close()


async def _until_ready(process: "subprocess.Popen[bytes]", url: str, token: Path) -> None:
    async with asyncio.timeout(START_SECONDS), httpx.AsyncClient(trust_env=False) as client:
        while process.poll() is None:
            try:
                ended = await _ended(client, url, token)
            except (httpx.TransportError, OSError):
                ended = 0
            if ended >= 2:
                return
            await asyncio.sleep(0.5)
    raise DemoEnded


async def _ended(client: httpx.AsyncClient, url: str, token: Path) -> int:
    text = (await asyncio.to_thread(token.read_text, encoding="ascii")).strip()
    answer = await client.get(
        f"{url}/api/v1/batches",
        headers={"Authorization": f"Bearer {text}"},
        params={"state": ["completed", "failed"]},
    )
    return len(answer.json().get("data", ())) if answer.is_success else 0


async def take(url: str, token: str, folder: Path | None) -> None:
    """Go through all pages and take pictures."""
    async with browsing() as browser:
        context = await browser.new_context(
            base_url=url, viewport={"width": WIDE, "height": HEIGHT}, locale="en-GB"
        )
        context.set_default_timeout(20_000)
        page = await context.new_page()
        await page.goto("/ui/sign-in")
        await shoot(page, "sign-in", folder)
        await page.get_by_text("Use an API token instead").click()
        await page.get_by_label("Token").fill(token)
        await page.get_by_role("button", name="Sign in with the token").click()
        await page.wait_for_url("**/ui/overview")
        await make_settings(url, token)
        await visit_new(page, folder)
        await visit_batches(page, folder)
        await visit_settings(page, folder)


async def visit_new(page: Page, folder: Path | None) -> None:
    """Bring in a list, rehearse it and start it."""
    await page.goto("/ui/new")
    await shoot(page, "new-empty", folder)
    await page.get_by_label("File", exact=True).set_input_files(
        {"name": "guests.csv", "mimeType": "text/csv", "buffer": LIST.encode("cp1252")}
    )
    await page.get_by_label("Name", exact=True).fill("Guests of December")
    await page.locator("#look").get_by_text("CP1252").wait_for()
    await shoot(page, "new", folder)
    await page.get_by_role("button", name="Check all rows").click()
    await page.get_by_role("link", name="Refused rows").click()
    await shoot(page, "refused", folder)
    await page.get_by_role("link", name="Settings").last.click()
    await page.get_by_label("Starts").fill("240")
    await page.get_by_role("button", name="Save limits").click()
    await shoot(page, "batch-settings", folder)
    await page.get_by_role("link", name="Rehearsal").click()
    await page.locator("#rehearsal canvas").wait_for()
    await shoot(page, "rehearsal", folder)
    await page.locator(".tabs").get_by_text("Items").click()
    await page.get_by_role("link", name="Start now").click()
    await page.get_by_role("dialog").wait_for()
    await shoot(page, "question", folder)
    await page.get_by_role("dialog").get_by_role("button", name="Start now").click()
    await page.locator("#batch-head .badge").get_by_text("running").first.wait_for()
    await page.wait_for_timeout(45_000)
    await shoot(page, "batch", folder)


async def visit_batches(page: Page, folder: Path | None) -> None:
    """Look at the lists and at one item."""
    await page.goto("/ui/overview")
    await shoot(page, "overview", folder)
    await page.goto("/ui/batches")
    await shoot(page, "batches", folder)
    await page.locator(".list .name").nth(1).click()
    await shoot(page, "batch-ended", folder)
    for tab in ("Results", "Events"):
        await page.locator(".tabs").get_by_text(tab).click()
        await shoot(page, tab.lower(), folder)
    await page.locator(".tabs").get_by_text("Items").click()
    await page.locator(".items .name").first.click()
    await page.wait_for_load_state("networkidle")
    await shoot(page, "item", folder)


async def visit_settings(page: Page, folder: Path | None) -> None:
    """Look at every page of the settings."""
    sections = "providers", "limits", "webhooks", "do-not-contact", "tokens", "people", "audit"
    for section in sections:
        await page.goto(f"/ui/settings/{section}")
        await shoot(page, section, folder)


async def make_settings(url: str, token: str) -> None:
    """Give the settings something to show."""
    async with httpx.AsyncClient(
        base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {token}"}, trust_env=False
    ) as client:
        hook = {"url": f"{url}/nobody", "description": "Bookkeeping", "events": ["batch.*"]}
        for path, body in (
            ("/webhooks/endpoints", hook),
            ("/tokens", {"name": "Nightly export", "scopes": ["batches:read"]}),
            ("/contacts/do-not-contact", {"number": "+4520123456", "reason": "Asked for it."}),
            ("/users", {"name": "Operator", "email": "operator@example.com", "scopes": ["admin"]}),
        ):
            (await client.post(path, json=body)).raise_for_status()
        [endpoint] = (await client.get("/webhooks/endpoints")).json()["data"]
        (await client.post(f"/webhooks/endpoints/{endpoint['id']}/test")).raise_for_status()


async def shoot(page: Page, name: str, folder: Path | None) -> None:
    """Keep a page as pictures: as docs/screens/ has it, or in every way."""
    views: Sequence[tuple[int, str]]
    if folder is None:
        views = [(width, scheme) for kept, width, scheme in KEPT if kept == name]
    else:
        views = [(width, scheme) for width in (WIDE, NARROW) for scheme in ("light", "dark")]
    for width, scheme in views:
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        await page.set_viewport_size({"width": width, "height": HEIGHT if width == WIDE else 780})
        # What was filled in last may have scrolled the page.
        await page.evaluate("scrollTo(0, 0)")
        await page.wait_for_timeout(300)
        told = f"{name}-{width}-{scheme}.png"
        content = await page.screenshot(full_page=folder is not None, scale="css")
        await asyncio.to_thread(keep, content, (folder or SCREENS) / told)
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size({"width": WIDE, "height": HEIGHT})


def keep(content: bytes, path: Path) -> None:
    """Write a picture in few colours: a page has few, and it is a third of the size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    full = Image.open(BytesIO(content)).convert("RGB")
    # The method that keeps rare colours: what has failed is a small red spot.
    few = full.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """Lend a browser."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        raise SystemExit("No browser: install Debian's package `chromium`.")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        await browser.close()


if __name__ == "__main__":
    main()
