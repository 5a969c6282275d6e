"""Rules that hold for every test; `tests/conftest.py` hands them to pytest.

A test without the mark `integration`, `system` or `soak` starts no process and no server, so that
`make test-fast` is one process that computes. Where CI=true nothing is skipped: a test that lacks
what it needs fails.
"""

import os
import re
import sys
from pathlib import Path

import pytest

_STARTS_A_PROCESS = {"subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec", "os.system"}
_HARMLESS = ("lscpu",)  # scikit-learn counts cores with it, once
_running: pytest.Item | None = None
# One of them that began last would leave the other workers without work.
_LONGEST = (
    "tuner/service/test_page.py",
    "tuner/service/test_faults.py",
    "tuner/cli/test_main.py",
    "tuner/test_foreign_project.py",
    "deploy/test_deploy.py",
    "tuner/tracking/test_registry.py",
    "tuner/service/incoming/test_submitting.py",
    "tuner/execution/test_tune.py",
    "tuner/tracking/test_mlflow_ui.py",
    "test_readme.py",
    "test_wheel.py",
    "tuner/service/test_many.py",
    "tuner/service/test_fuzz.py",
)
_ALL_MARKED = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.integration\b", re.MULTILINE)


def starts(what: str) -> None:
    """Say that something is about to start; an error in a test that has no mark for it."""
    if _running is not None and not _is_marked(_running):
        pytest.fail(f"{_running.nodeid} starts {what}: mark it `integration`")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files alone whose tests are deselected anyway: they import Ray, MLflow and more."""
    if "not integration" not in config.option.markexpr or collection_path.suffix != ".py":
        return None
    return bool(_ALL_MARKED.search(collection_path.read_text(encoding="utf-8"))) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, then those that wait for servers: computing fills the rest."""
    slow = {item.path for item in items if _is_marked(item)}
    tests = Path(__file__).parents[1]
    rank = {tests / name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: (item.path not in slow, rank.get(item.path, len(rank))))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item):
    global _running  # pytest runs one test at a time
    _running = item
    try:
        return (yield)
    finally:
        _running = None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """Let the last test of a session end what others started."""
    global _running
    _running = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    result = yield
    ray = sys.modules.get("ray")
    if ray is not None and hasattr(ray, "is_initialized") and ray.is_initialized():
        starts("Ray")
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        *_, reason = report.longrepr
        report.outcome, report.longrepr = "failed", f"where CI=true nothing is skipped. {reason}"
    return report


def _watch(event: str, arguments: tuple) -> None:
    if event in _STARTS_A_PROCESS and arguments[:1] != _HARMLESS:
        starts(f"a process {arguments[:2]}")


sys.addaudithook(_watch)


def _is_marked(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("integration", "system", "soak"))
