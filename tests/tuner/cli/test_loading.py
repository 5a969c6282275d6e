"""A command loads what takes seconds to load when it needs it, not before."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
SLOW = ("torch", "ray", "mlflow", "optuna", "scipy", "sklearn", "sqlalchemy", "matplotlib")
SCRIPT = """
import sys
from typer.testing import CliRunner
from tuner.cli.main import app

code = CliRunner().invoke(app, sys.argv[2:]).exit_code if sys.argv[2:] else 0
print(code, *(name for name in sys.argv[1].split(",") if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 0),
        (["--help"], 0),
        (["run", "--help"], 0),
        (["run"], 2),
        (["run", "mfeat", "--trials", "2"], 2),
        (["submit", "mfeat", "--sampler", "magic"], 2),
        (["validate", "mfeat"], 0),
    ],
)
def test_the_command_starts_fast(words, code):
    script = [sys.executable, "-c", SCRIPT, ",".join(SLOW), *words]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == [str(code)]


@pytest.fixture
def folder(tmp_path):
    """Where a user works: it has a module of its own, and one that is called like a library."""
    (tmp_path / "mine.py").write_text("def build(shape, width):\n    raise ValueError('planted')\n")
    (tmp_path / "scipy.py").write_text("raise AssertionError('not the library')\n")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["profile", "mfeat"], 0, "Next: tuner run mfeat"),
        (["run", "mfeat", "--encoder-a", "mine:build"], 2, "ValueError: planted"),
    ],
)
def test_the_working_directory_comes_after_what_is_installed(folder, words, code, reason):
    tuner = Path(sys.executable).with_name("tuner")
    done = subprocess.run([tuner, *words], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert reason in done.stderr


INTERRUPTED = """
import atexit, os, signal, sys
from importlib.abc import MetaPathFinder


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


class Early(MetaPathFinder):
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            interrupt()


@atexit.register
def late():
    interrupt()
    print("went on", file=sys.stderr)


sys.meta_path.insert(0, Early())
from tuner.__main__ import main

sys.argv[1:] = ["--version"] if sys.argv[1] == "never" else sys.argv[1:]
main()
"""


@pytest.mark.parametrize(
    ("module", "words"),
    [("tuner.cli.main", "Interrupted.\n"), ("numpy", "Interrupted.\n"), ("never", "")],
)
def test_an_interrupt_is_heard_at_any_moment_and_a_second_one_ends_it(module, words):
    """While the command loads, and while what it loaded ends."""
    script = [sys.executable, "-c", INTERRUPTED, module]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, words)
