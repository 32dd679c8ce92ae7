"""The browser that tests drive: Debian's Chromium, or what takes its place."""

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SETTING = "BATCHYARD_TEST_BROWSER"

MISSING = (
    "No browser: the tests of the dashboard in a browser are left out. Install Debian's package "
    f"`chromium`, or name another Chromium in {SETTING}."
)

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find() -> str | None:
    """Return the path of a Chromium on this machine, or None."""
    named = os.environ.get(SETTING)
    candidates = (named,) if named else NAMES
    return next((path for name in candidates if (path := shutil.which(name))), None)
