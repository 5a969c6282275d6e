"""Rules that hold for every test; `tests/conftest.py` hands them to pytest.

A test without the mark `integration` or `soak` starts no Ray, no server and no browser, so that
`make test-fast` needs none of them. Where CI=true nothing is skipped: a test that lacks what it
needs fails.
"""

import os
import sys

import pytest

_running: pytest.Item | None = None


def starts(what: str) -> None:
    """Say that something is about to start; an error in a test that has no mark for it."""
    if _running is not None and not _is_marked(_running):
        pytest.fail(f"{_running.nodeid} starts {what}: mark it `integration`")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    global _running  # pytest runs one test at a time
    _running = item


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


def _is_marked(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("integration", "soak"))
