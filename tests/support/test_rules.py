"""What tests may start and skip, tried on tests that break the rules."""

from pathlib import Path

import pytest

from tests.support.rules import _LONGEST

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.integration

SKIPS = """
import pytest

def test_lacks_what_it_needs():
    pytest.skip("needs a browser")

@pytest.mark.skipif(True, reason="needs a printer")
def test_lacks_more():
    pass

@pytest.mark.xfail(reason="known")
def test_that_fails():
    raise ValueError
"""
STARTS = """
import subprocess
import sys
from types import SimpleNamespace
import pytest
from tests.support.rules import starts

@pytest.fixture
def server():
    starts("PostgreSQL")

@pytest.mark.integration
def test_marked(server):
    pass

def test_unmarked(server):
    pass

def test_that_starts_a_process():
    subprocess.run(["true"], check=True)

def test_that_starts_ray(monkeypatch):
    sys.modules["ray"] = SimpleNamespace(is_initialized=lambda: True)
"""


ENDS = """
import subprocess
import pytest

@pytest.fixture(scope="session")
def server():
    yield
    subprocess.run(["true"], check=True)

@pytest.mark.integration
def test_that_has_it_started(server):
    pass

def test_that_is_the_last():
    pass
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs tests under the rules and hands on what pytest printed."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeconftest("from tests.support.rules import *")
    pytester.makeini("[pytest]\nmarkers = integration\n system\n soak\n")

    def run(source):
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-rsf")

    return run


def test_on_a_machine_of_a_person_what_is_missing_is_named_and_skipped(run, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    result = run(SKIPS)
    result.assert_outcomes(skipped=2, xfailed=1)
    result.stdout.fnmatch_lines(["SKIPPED*needs a browser"])


def test_in_ci_nothing_is_skipped(run, monkeypatch):
    monkeypatch.setenv("CI", "true")
    result = run(SKIPS)
    result.assert_outcomes(failed=1, errors=1, xfailed=1)
    for reason in ("a browser", "a printer"):
        result.stdout.fnmatch_lines([f"where CI=true nothing is skipped. Skipped: needs {reason}"])


def test_what_starts_servers_has_a_mark(run):
    result = run(STARTS)
    result.assert_outcomes(passed=1, failed=2, errors=1)
    result.stdout.fnmatch_lines(["*test_that_starts_a_process starts a process*"])
    result.stdout.fnmatch_lines(["*test_that_starts_ray starts Ray: mark it `integration`*"])
    result.stdout.fnmatch_lines(["*test_unmarked starts PostgreSQL: mark it `integration`*"])


def test_the_longest_files_are_there():
    tests = Path(__file__).parents[1]
    assert [name for name in _LONGEST if not (tests / name).exists()] == []


def test_what_is_ended_after_a_test_without_the_mark_is_not_its_fault(run):
    run(ENDS).assert_outcomes(passed=2)
