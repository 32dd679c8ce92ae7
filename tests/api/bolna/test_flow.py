"""The flow of docs/bolna.md, run as a reader would: plain curl against a real port."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.api.serving import TOKEN, serving
from tests.docs.pages import page

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
END_OF_STEP = "--- end of step ---"
SETTINGS = {
    "BATCHYARD_BOLNA_SCHEDULE_LEAD_SECONDS": "0",
    "BATCHYARD_BOLNA_SCHEDULE_STEP_MINUTES": "0",
    "BATCHYARD_SANDBOX_SPEED": "50",
}
"""As the page says."""

UNSTABLE = (
    (re.compile(r'"[0-9a-f]{32}"|"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"'), '"<id>"'),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time>"),
    (re.compile(r'("humanized_created_at" ?: ?)"[^"]*"'), r'\1"<age>"'),
)


def steps() -> list[tuple[str, str, str]]:
    """Return each step of the flow: its commands, and what the page says they print."""
    flow = page("docs/bolna.md").split("## The whole flow")[1].split("\n## ")[0]
    found: list[tuple[str, str, str]] = []
    for kind, text in BLOCK.findall(flow):
        if kind == "sh":
            found.append((text, "", ""))
        elif found and found[-1][2] == "":
            found[-1] = (found[-1][0], kind, text)
    return found


def stable(text: str) -> str:
    for pattern, word in UNSTABLE:
        text = pattern.sub(word, text)
    return text


@pytest.mark.acceptance
def test_flow_of_the_page_runs_by_curl(database_url: str, tmp_path: Path) -> None:
    flow = steps()
    assert len(flow) > 10
    script = "\n".join(f"{commands}echo; echo '{END_OF_STEP}'" for commands, _, _ in flow)
    with serving("up", database_url=database_url, log=tmp_path / "log", **SETTINGS) as url:
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", script],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "URL": url, "TOKEN": TOKEN},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = done.stdout.split(END_OF_STEP)
    assert len(printed) == len(flow) + 1
    for (commands, kind, expected), output in zip(flow, printed, strict=False):
        told = stable(output).strip().lstrip("\ufeff")
        if kind == "json":
            assert json.loads(told) == json.loads(expected), commands
        elif expected:
            assert told.splitlines() == expected.splitlines(), commands


def test_settings_of_the_flow_are_those_of_the_page() -> None:
    line = " ".join(f"{name}={value}" for name, value in SETTINGS.items())
    assert f"{line} batchyard up" in page("docs/bolna.md")
