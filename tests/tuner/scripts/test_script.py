import subprocess
import sys

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
        (lambda trial: None, "cannot be imported by another process: write it in a file"),
    ],
)
def test_what_is_no_function_is_named(project, function, words):
    (project / "broken.py").write_text("def train(trial: pass")
    with pytest.raises(SpecError, match=words):
        Script.of_function(function, project)


@pytest.mark.parametrize(
    ("word", "mend"),
    [
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
