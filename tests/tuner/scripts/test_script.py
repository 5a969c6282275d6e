import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tuner.errors import SpecError
from tuner.scripts.script import Script

TRAIN = "import helpers\n\ndef train(trial): pass\n"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "my_train.py").write_text(TRAIN)
    (tmp_path / "helpers.py").write_text("x = 1\n")
    (tmp_path / "notes.txt").write_text("a note\n")
    return tmp_path


def digests(folder, words):
    return Script.of_function("my_train:train", folder).digest, Script.of_command(
        words, folder
    ).digest


@pytest.mark.integration  # asks git
def test_a_script_is_another_if_its_code_is(project):
    words = ("python", "my_train.py", "{strength}", "{seed}")
    before = digests(project, words)
    (project / "notes.txt").write_text("another note\n")
    assert digests(project, words) == before
    for name in ("helpers.py", "my_train.py"):
        (project / name).write_text((project / name).read_text() + "# edited\n")
        after = digests(project, words)
        assert not set(after) & set(before)
        before = after
    assert Script.of_command((*words, "--fast"), project).digest != before[1]
    (project / "other.py").write_text(TRAIN)
    assert Script.of_function("other:train", project).digest != before[0]


@pytest.mark.integration
def test_code_that_git_keeps_is_that_of_a_command_committed_or_not(project):
    words = ("make", "train", "LAM={strength}", "SEED={seed}")
    git = ("git", "-c", "user.name=me", "-c", "user.email=me@example.org")
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "first")):
        subprocess.run([*git, *command], cwd=project, check=True)
    before = Script.of_command(words, project).digest
    (project / "helpers.py").write_text("x = 2\n")
    edited = Script.of_command(words, project).digest
    assert edited != before
    subprocess.run([*git, "commit", "-qam", "second"], cwd=project, check=True)
    (project / "notes.txt").write_text("another note\n")
    assert Script.of_command(words, project).digest == edited


@pytest.mark.integration
def test_code_of_a_submodule_is_that_of_a_command(project, tmp_path_factory):
    words = ("make", "train", "LAM={strength}", "SEED={seed}")
    git = ("git", "-c", "user.name=me", "-c", "user.email=me@example.org")
    git += ("-c", "protocol.file.allow=always")
    other = tmp_path_factory.mktemp("other")
    (other / "losses.py").write_text("weight = 1")
    for folder, commands in (
        (other, (("init", "-q"), ("add", "."), ("commit", "-qm", "first"))),
        (project, (("init", "-q"), ("submodule", "--quiet", "add", str(other), "inner"))),
    ):
        for command in commands:
            subprocess.run([*git, *command], cwd=folder, check=True)
    before = Script.of_command(words, project).digest
    (project / "inner" / "losses.py").write_text("weight = 2")
    assert Script.of_command(words, project).digest != before


@pytest.mark.integration
def test_a_script_of_any_name_is_code_but_not_one_that_is_installed(project):
    def digest(name):
        return Script.of_command((name, "{strength}", "{seed}"), project).digest

    installed = project / ".venv" / "bin"
    installed.mkdir(parents=True)
    (project / ".venv" / "pyvenv.cfg").touch()
    for name, is_code in (("train", True), ("./train.R", True), (".venv/bin/launch", False)):
        (project / name).write_text("#!/bin/sh\n")
        before = digest(name)
        (project / name).write_text("#!/bin/sh\n# edited")
        assert (digest(name) != before) == is_code
    (project / "weights").write_text("no script")
    before = digest("weights")
    (project / "weights").write_text("none either")
    assert digest("weights") == before


def test_a_function_may_be_given_as_itself(project, monkeypatch):
    monkeypatch.syspath_prepend(project)
    import my_train

    try:
        assert Script.of_function(my_train.train, project).name == "my_train:train"
    finally:
        for name in ("my_train", "helpers"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("my_train", "'my_train' is no function: write MODULE:NAME"),
        ("my_train.py:train", "my_train.py:train names a file: write my_train:train"),
        ("absent:train", "absent:train: cannot find the file of 'absent'; it has to lie in"),
        ("broken:train", "broken.py cannot be read as Python: .*line 1"),
        ("my_train:trian", "my_train:trian: 'my_train' has no 'trian'; there is train"),
        ("json:dumps", "'json' is an installed module .*json/__init__.py.*; import it in a"),
        ("sys:exit", "'sys' is an installed module, whose .* or rename yours if it is hidden"),
        (lambda trial: None, "cannot be imported by another process: write it in a file"),
        (Path().joinpath, "Path.joinpath is called of an object, which another process does not"),
        (partial(print), "partial.* cannot be imported by another process: .*%%writefile my_train"),
    ],
)
def test_what_is_no_function_is_named(project, function, words):
    (project / "broken.py").write_text("def train(trial: pass")
    with pytest.raises(SpecError, match=words):
        Script.of_function(function, project)


@pytest.mark.parametrize(
    "module",
    [
        "if True:\n    def train(trial): pass",
        "from helpers import *",
        "import helpers as train",
        "train = later = None",
        "try:\n    train: object = 1\nfinally: pass",
        "def __getattr__(name): return print",
        "globals()['train'] = print",
    ],
)
def test_a_name_that_a_file_may_bind_is_not_refused(project, module):
    (project / "binds.py").write_text(module)
    assert Script.of_function("binds:train", project).name == "binds:train"


def test_a_module_of_a_package_may_be_named_by_it(project):
    (project / "package").mkdir()
    for name in ("__init__", "inner"):
        (project / "package" / f"{name}.py").write_text("class Trainer:\n    def fit(t): pass")
    for name in ("package:inner.Trainer.fit", "package.inner:Trainer.fit", "package:Trainer.fit"):
        assert Script.of_function(name, project).name == name


@pytest.mark.parametrize(
    ("word", "mend"),
    [
        ("my_train", "write my_train:train"),
        ("code/my train", "go to the folder code and rename my train.py to my_train.py and write "),
    ],
)
def test_a_module_without_a_function_is_no_command(project, word, mend):
    (project / "code").mkdir()
    (project / "code" / "my train.py").write_text(TRAIN)
    with pytest.raises(SpecError, match=f"names a module, and no function of it: {mend}"):
        Script.of_words([word], project)


@pytest.mark.parametrize(
    ("word", "mend"),
    [
        ("./my_train:train", "write my_train:train"),
        ("my-train.py:fit", "rename my-train.py to my_train.py and write my_train:fit"),
        ("./my_train.py:train", "write my_train:train"),
        ("code/my_train.py:train", "go to the folder code and write my_train:train"),
        ("/srv/a b/my_train.py:train", "go to the folder /srv/a b and write my_train:train"),
    ],
)
def test_a_function_in_a_file_is_no_command(project, word, mend):
    with pytest.raises(SpecError) as caught:
        Script.of_words([word], project)
    assert str(caught.value) == f"{word} names a file: {mend}"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", "there is no command: write it after --"),
        ("python my_train.py {seed}", "not told λ: write {strength} where it takes it, as --lam"),
        ("python my_train.py {strength}", "not told its seed: write {seed} where it takes it"),
        ("python my_train.py {lambda} {seed}", "{lambda} is not known"),
    ],
)
def test_a_command_that_is_not_told_what_to_train_is_named(project, command, words):
    with pytest.raises(SpecError, match=words):
        Script.of_command(command.split(), project)


@pytest.mark.integration
def test_a_file_that_asks_for_its_trial_needs_no_placeholders(project):
    (project / "asks.py").write_text("import tuner\ntrial = tuner.current_trial()\n")
    assert Script.of_command(("python", "asks.py"), project).name == "python asks.py"


def test_a_script_is_a_function_or_a_command():
    with pytest.raises(ValueError, match="a script is a function or a command"):
        Script(folder="/", digest="")
