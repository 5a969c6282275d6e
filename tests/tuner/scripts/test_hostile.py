"""Scripts that go wrong in every way that one has seen: each is told in a sentence, none hangs."""

import time

import numpy as np
import psutil
import pytest

from tuner.errors import ScriptError
from tuner.scripts.reported import Reported, check_alike
from tuner.scripts.scores import read_scores
from tuner.scripts.script import Script
from tuner.scripts.training import run_training
from tuner.scripts.trial import Trial

HEAD = """
import os, pickle, signal, subprocess, sys, time
from pathlib import Path
import numpy as np
OUT = os.environ.get("TUNER_OUT", "")
SCORES = OUT + "/scores.npz"
GOOD = np.arange(8) % 2

def train(trial):
"""
# What the body of `train` is, and what is said of how it ended.
ENDINGS = {
    "pass": "it ended well and reported nothing: call trial.report",
    "raise ValueError('λ is odd\\nvery')": r"raised ValueError: λ is odd \(hostile.py, line 10\)",
    "sys.exit(3)": "it ended with exit code 3. What it printed is in .*log.txt",
    "sys.exit('no data here')": "exit code 1, after it printed 'no data here'. What it printed is",
    "print('50 %\\r\\x1b[31m99 %\\x1b[0m\\r', end=''); sys.exit(4)": "after it printed '99 %'",
    "return {'acc': GOOD, 'f1': GOOD}": r"train returns a dict .* Call trial.report\(acc=…, f1=…\)",
    "return GOOD": r"train returns a ndarray and reports nothing. Call trial.report\(acc=correct\)",
    "Path('scores.npz').touch()": r"there is a scores.npz in .*, where it was run. Write it into",
    "Path(None)": r"TypeError: .* \(hostile.py, line 10\)",  # not where pathlib raised it
    "import struct; struct.unpack('i', b'')": r"error: unpack requires .*hostile.py, line",
    "import tuner; tuner.tune(train)": 'begins a study of its own, .* if __name__ == "__main__"',
    "raise ExceptionGroup('two', [ValueError('one')])": r"ExceptionGroup: two \(1 sub-exception\)",
    "os.kill(os.getpid(), signal.SIGKILL)": r"was killed \(SIGKILL\) 3 times, .* more memory",
    "os.kill(os.getpid(), signal.SIGSEGV)": "it was ended by the signal SIGSEGV",
    "os._exit(0)": "it ended well and reported nothing",
    "import shutil; shutil.rmtree(OUT)": "its folder .* is gone",
    "trial.report(acc=GOOD); import absent_module": "'absent_module' .* It was run by .*: install",
    "print(trial.confirmed)": "AttributeError: 'Trial' object has no attribute 'confirmed'",
    "time.sleep(600)": "it was ended after 2 s, its time",
    "signal.signal(15, signal.SIG_IGN); time.sleep(600)": "it was ended after 2 s",
}
# The same of what it reported.
SCORES = {
    "np.savez(OUT + '/score.npz', acc=GOOD)": r"there is 'score.npz' in .*: call trial.report",
    "trial.report(acc=[.5, np.nan, 1.])": r"'acc' is not finite in 1 row \(first: row 1",
    "trial.report(acc=[.5, np.inf, 1.])": "if the training diverged, let it raise an error",
    "np.savez(SCORES, acc=GOOD * np.nan)": r"scores.npz: array 'acc' is not finite in 8 rows",
    "trial.report(acc=np.ones((8, 2)))": r"has shape \(8, 2\). One score per row is wanted",
    "trial.report(acc=np.ones((8, 1)))": r"has shape \(8, 1\)",
    "trial.report(acc=.9)": r"'acc' is one number. Report one score per row.*rows=500",
    "trial.report(.93)": r"the name of its target: write report\(acc=correct\)",
    "trial.report({'acc': GOOD, 'f1': GOOD})": r"is named in the call: write report\(acc=…, f1=…\)",
    "trial.report_test(GOOD)": "test rows count in confirmations alone",
    "trial.report(acc_test=GOOD)": r"by report_test\(acc=…\)",
    "trial.report(acc=GOOD, rows=8)": "one number, the mean of them. Leave the number of rows out",
    "trial.report(acc=[GOOD[:4], GOOD[5:]])": "differ in shape. Join batches",
    "trial.report(acc=[GOOD[:4], GOOD[4:]])": "or join batches by numpy.concatenate",
    "trial.report(acc=(x for x in GOOD))": r"objects \('generator'\).* list\(…\) makes",
    "trial.report(acc=[1, None, 0])": r"holds objects \('NoneType' and 'int'\)",
    "trial.report(acc=np.ma.array(GOOD, mask=GOOD == 1))": "'acc' is not finite in 4 rows",
    "trial.epoch(GOOD)": r"'validation_loss' is none: epoch\(validation_loss=mean_of_it\)",
    "trial.epoch(lr='high')": "epoch takes one number for a name, and 'lr' is none",
    "np.savez(SCORES, GOOD)": r"an array without a name. .*numpy.savez\(path, acc=correct\)",
    "trial.report(acc=.9, rows=0)": "'acc_rows' has to be one whole number from 1",
    "trial.report(acc=GOOD, row_id=[0] * 8)": "'row_id' has 0 more than once. Report each row once",
    "trial.report(acc=GOOD, row_id=range(7))": "'acc' has 8 rows and 'row_id' has 7",
    "trial.report(acc=GOOD, row_id=np.ones(8))": "'row_id' is float64 .* One whole number or text",
    "trial.report(acc=['right', 'wrong'])": "array 'acc' holds texts. Save numbers",
    "np.savez(SCORES, acc=np.array([1, None]))": "nothing is ever unpickled",
    "Path(SCORES).write_bytes(pickle.dumps({'acc': 1}))": "is a pickle, and nothing is",
    "np.savez(SCORES, acc=GOOD); os.truncate(SCORES, 90)": "It is damaged or was cut short",
    "open(SCORES, 'w').close()": r"is empty \(0 bytes\)",
    "Path(SCORES).touch(); os.truncate(SCORES, 2**31)": "has 2,147,483,648 bytes, of 1,073",
    "np.savez(SCORES)": "it holds no target: save one score per row",
    "trial.report(acc=[])": "array 'acc' is empty",
    "trial.report(**{'my acc/top 1': GOOD})": "'my acc/top 1' is no name of a target",
    "trial.report(acc=GOOD); trial.report_test(acc=GOOD)": "only where `trial.confirming` is true",
    "np.savez(SCORES, acc=GOOD, acc_test=GOOD)": "where TUNER_CONFIRMING is 1",
    "os.mkfifo(SCORES)": "scores.npz is no file",
    "trial.report(acc=GOOD, row_id=range(8)); trial.report(f1=GOOD)": "come with other row_id",
    "trial.save('nowhere')": "there is no folder nowhere: save the model in it first",
}
# What looks bad and is not.
FINE_ENDINGS = (
    "import argparse; argparse.ArgumentParser().parse_args(); trial.report(acc=GOOD)",
    "trial.report(acc=GOOD); subprocess.Popen(['sleep', '600'])",
    "trial.report(acc=GOOD); subprocess.Popen(['sleep', '600'], start_new_session=True)",
    "trial.report(acc=GOOD); os.fork() or os.setsid() or os.fork() or time.sleep(600)",
    "sys.stdout.buffer.write('naïve'.encode('latin-1')); trial.report(acc=GOOD)",
    "sys.stdout.close(); trial.report(acc=GOOD)",
    "os.close(1); os.close(2); trial.report(acc=GOOD)",
    "os.write(1, b'x' * 50_000_000); trial.report(acc=GOOD)",
    "import atexit; atexit.register(trial.report, acc=GOOD)",
    "trial.report(acc=GOOD); sys.exit(0)",
)
FINE_SCORES = (
    "trial.report(acc=GOOD == 1)",
    "trial.report(acc=GOOD.astype('float32'))",
    "trial.report(acc=list(GOOD))",
    "trial.report(acc=GOOD.astype(object))",
    "trial.report(acc=np.ma.array(GOOD, mask=False))",
    "trial.report(acc=GOOD, row_id=np.array(list('abcdefgh'), dtype=object))",  # as of pandas
    "np.savez_compressed(SCORES, acc=GOOD)",
    "trial.report(acc=1 - GOOD); trial.report(acc=GOOD)",
    "trial.report(acc=GOOD[::-1], row_id=range(7, -1, -1))",
    "np.savez(SCORES, acc=GOOD[::-1], row_id=list('hgfedcba'))",
)


def trained(tmp_path, body, *, strength=0.1, seed=1, confirming=False, timeout=2.0):
    (tmp_path / "hostile.py").write_text(HEAD + f"    {body}\n")
    script = Script.of_function("hostile:train", tmp_path)
    folder = tmp_path / f"{strength}-{seed}"
    try:
        return run_training(
            script,
            strength=strength,
            seed=seed,
            confirming=confirming,
            folder=folder,
            timeout=timeout,
        )
    finally:
        assert not left(str(folder))


def left(folder):
    """Processes of a training that are still there."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TUNER_OUT", "").startswith(folder):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.mark.integration
@pytest.mark.parametrize("body", ENDINGS)
def test_how_a_training_went_wrong_is_told_in_a_sentence(tmp_path, body):
    begin = time.monotonic()
    timeout = 2 if "600" in body else 60
    with pytest.raises(ScriptError, match=rf"(?si)^hostile:train: .*{ENDINGS[body]}") as raised:
        trained(tmp_path, body, timeout=timeout)
    assert "\n" not in str(raised.value)
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize("body", SCORES)
def test_what_is_wrong_with_scores_is_told_in_a_sentence(tmp_path, monkeypatch, body):
    with pytest.raises(ScriptError, match=f"(?si){SCORES[body]}") as raised:
        scores_of(tmp_path, monkeypatch, body)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("body", FINE_SCORES)
def test_scores_of_any_kind_work(tmp_path, monkeypatch, body):
    assert np.array_equal(scores_of(tmp_path, monkeypatch, body).scores["acc"], np.arange(8) % 2)


def scores_of(folder, monkeypatch, body, *, seed=1, confirming=False):
    """What is read of a training that runs in this process."""
    trial = Trial(strength=0.1, seed=seed, confirming=confirming, folder=folder)
    monkeypatch.setenv("TUNER_OUT", str(folder))
    names = {}
    exec(HEAD + f"    {body}\n", names)
    names["train"](trial)
    return read_scores(folder, confirming=confirming)[0]


@pytest.mark.integration
@pytest.mark.parametrize("body", FINE_ENDINGS)
def test_what_is_unusual_works(tmp_path, body):
    reported = trained(tmp_path, body, timeout=60)
    assert np.array_equal(reported.scores["acc"], np.arange(8) % 2)
    assert (tmp_path / "0.1-1" / "log.txt").stat().st_size < 3 * 2**20


@pytest.mark.integration
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("def other(t): pass\ndef __getattr__(name): raise AttributeError", "there is other"),
        ("train = 3", "has no function 'train'"),
        ("def train(model, data): pass", r"train\(model, data\) is called with one argument, the"),
        ("async def train(trial): pass", "is async or a generator"),
        (
            "import absent_thing as train",
            "it raised ModuleNotFoundError: No module named 'absent_thing'",
        ),
        ("from .other import train", r"Go to the folder above .* PACKAGE.uncallable:train"),
        ("train = exit(0)", "it ended well and reported nothing"),
    ],
)
def test_a_function_that_cannot_be_called_is_named(tmp_path, module, words):
    (tmp_path / "uncallable.py").write_text(module)
    script = Script.of_function("uncallable:train", tmp_path)
    with pytest.raises(ScriptError, match=rf"^uncallable:train: .*{words}"):
        run_training(script, strength=0.1, seed=1, confirming=False, folder=tmp_path / "0")


@pytest.mark.integration
def test_a_module_that_is_lost_before_the_training_is_named(tmp_path):
    (tmp_path / "lost.py").write_text("def train(trial): pass")
    script = Script.of_function("lost:train", tmp_path)
    (tmp_path / "lost.py").unlink()
    with pytest.raises(ScriptError, match="cannot find the module 'lost'; it has to lie in"):
        run_training(script, strength=0.1, seed=1, confirming=False, folder=tmp_path / "0")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("no-such-command", "{strength}", "{seed}"), "'no-such-command' cannot be started"),
        (
            ("./train.py", "{strength}", "{seed}"),
            "cannot be started .*Permission denied.* as python",
        ),
        (
            ("sh", "-c", "no-such-command {strength} {seed}"),
            "exit code 127: a command in it was not",
        ),
        (("sh", "-c", "exit 7 # {strength} {seed}"), "exit code 7. What it printed"),
        (("python3", "train.py", "{strength}", "{seed}"), r"SyntaxError: .*train.py, line 1"),
    ],
)
def test_a_command_that_cannot_be_run_is_named(tmp_path, words, told):
    (tmp_path / "train.py").write_text("x = = 1")
    script = Script.of_command(words, tmp_path)
    with pytest.raises(ScriptError, match=told):
        run_training(script, strength=0.1, seed=1, confirming=False, folder=tmp_path / "0")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("trial.report(acc=GOOD)", "'acc_test' is missing, and this training is a confirmation"),
        (
            "trial.report(acc=GOOD, f1=GOOD); trial.report_test(acc=GOOD)",
            "'f1_test' is missing, and this training is a confirmation",
        ),
        (
            "trial.report(acc=GOOD); trial.report_test(acc=GOOD, f1=GOOD)",
            "'f1_test' has no scores of validation rows",
        ),
        (
            "trial.report(acc=GOOD, row_id=range(8)); trial.report_test(acc=GOOD)",
            "row_id and row_id_test come together",
        ),
        (
            "trial.report(acc=GOOD); trial.report_test(acc=np.nan * GOOD)",
            "'acc_test' is not finite",
        ),
    ],
)
def test_a_confirmation_without_its_test_rows_is_named(tmp_path, monkeypatch, body, words):
    with pytest.raises(ScriptError, match=words):
        scores_of(tmp_path, monkeypatch, body, confirming=True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "trial.report(acc=GOOD[: 8 - trial.seed])",
            r"other validation rows .*\(6 rows, not 7 rows\)",
        ),
        (
            "trial.report(acc=.5, rows=10 * trial.seed)",
            r"other validation rows .*\(20 rows, not 10 rows\)",
        ),
        (
            "trial.report(**{f't{trial.seed}': GOOD})",
            "did not report 't1', as another training did",
        ),
        (
            "trial.report(acc=GOOD, row_id=np.arange(8) + trial.seed)",
            "other validation rows .*8 rows of ids .* not 8 rows of ids",
        ),
        (
            "trial.report(acc=GOOD, group=np.arange(8) // (1 + trial.seed))",
            "other validation rows .*in 3 groups .* not .* in 4 groups",
        ),
        (
            "trial.report(acc=GOOD, row_id=range(8) if trial.seed == 1 else None)",
            r"\(8 rows, not 8 rows of ids .*row_id and group always or never",
        ),
    ],
)
def test_trainings_that_cannot_be_compared_are_named(tmp_path, monkeypatch, body, words):
    trainings = []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        rows = scores_of(folder, monkeypatch, body, seed=seed)
        trainings.append(Reported(**vars(rows)))
    first, second = trainings
    with pytest.raises(ScriptError, match=words):
        check_alike(first, second)
    check_alike(first, first)
