import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.tuner.scripts.test_hostile import left
from tuner.errors import ScriptError
from tuner.scripts.script import Script
from tuner.scripts.training import raised_words, run_training

pytestmark = pytest.mark.integration

TRAIN = """
import numpy as np

def train(trial):
    rng = np.random.default_rng(trial.seed)
    (trial.checkpoint / "epochs").open("a").write("x")
    trial.epoch(1.5)
    trial.epoch(validation_loss=1.25, accuracy=0.5)
    trial.report(acc=rng.random(20) < trial.strength, loss=rng.random(20))
    if trial.confirming:
        trial.report_test(acc=rng.random(30) < trial.strength, loss=rng.random(30))
        (trial.folder / "model").mkdir()
        trial.save(trial.folder / "model")
"""
COMMAND = """
import os, sys
import numpy as np

strength, seed, out = sys.argv[1:]
assert out == os.environ["TUNER_OUT"] and os.environ["TUNER_CONFIRMING"] == "0"
rng = np.random.default_rng(int(seed))
np.savez(out + "/scores.npz", acc=rng.random(20) < float(strength))
"""


def test_a_function_trains_in_a_process_of_its_own(tmp_path):
    (tmp_path / "my_train.py").write_text(TRAIN)
    script = Script.of_function("my_train:train", tmp_path)
    folder = tmp_path / "0"
    for _ in range(2):
        reported = run_training(script, strength=0.5, seed=3, confirming=True, folder=folder)
    rng = np.random.default_rng(3)
    assert np.array_equal(reported.scores["acc"], rng.random(20) < 0.5)
    assert np.array_equal(reported.scores["loss"], rng.random(20))
    assert np.array_equal(reported.test_scores["acc"], rng.random(30) < 0.5)
    assert np.array_equal(reported.curves["validation_loss"], [1.5, 1.25])
    assert np.array_equal(reported.curves["accuracy"], [np.nan, 0.5], equal_nan=True)
    assert reported.saved == folder / "out" / "saved"
    assert reported.saved.is_dir()
    assert 0 < reported.seconds < 60
    assert not (folder / "checkpoint").exists()  # it is needed no more


def test_code_is_told_what_share_of_a_training_it_is(tmp_path):
    (tmp_path / "my_train.py").write_text(
        "def train(trial):\n    trial.report(acc=[trial.share, trial.strength, trial.seed])\n"
    )
    (tmp_path / "train.py").write_text(
        "import sys, tuner\nstrength, seed, share = map(float, sys.argv[1:])\n"
        "tuner.report(acc=[share, strength, seed])\n"
    )
    words = (sys.executable, "train.py", "{strength}", "{seed}", "{share}")
    for script in (
        Script.of_function("my_train:train", tmp_path),
        Script.of_command(words, tmp_path),
    ):
        of = {"strength": 0.5, "seed": 3, "confirming": False, "folder": tmp_path / "0"}
        for share in (1.0, 1 / 9):  # one and then the other in the same folder
            told = run_training(script, **of, share=share, resume=True).scores["acc"]
            assert list(told) == [share, 0.5, 3]


def test_a_command_trains_as_the_function_does(tmp_path):
    (tmp_path / "train.py").write_text(COMMAND)
    words = (sys.executable, "train.py", "{strength}", "{seed}", "{out}")
    script = Script.of_command(words, tmp_path)
    reported = run_training(
        script, strength=1 / 3, seed=3, confirming=False, folder=tmp_path / "a b"
    )
    assert np.array_equal(reported.scores["acc"], np.random.default_rng(3).random(20) < 1 / 3)
    assert reported.test_scores is None
    assert reported.saved is None


def test_only_the_first_of_several_processes_reports(tmp_path):
    ranks = "import os, sys, tuner; tuner.report(acc=[int(os.environ['RANK']), 2])"
    (tmp_path / "ranks.py").write_text(ranks)
    command = "for rank in 1 0 2; do RANK=$rank python3 ranks.py; done # {strength} {seed}"
    script = Script.of_command(("sh", "-c", command.replace("python3", sys.executable)), tmp_path)
    os.environ["SLURM_PROCID"] = "3"  # of this process, not of the training
    try:
        reported = run_training(script, strength=0.1, seed=1, confirming=False, folder=tmp_path)
    finally:
        del os.environ["SLURM_PROCID"]
    assert reported.scores["acc"].tolist() == [0, 2]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_training_ends_with_the_process_that_wants_it(tmp_path, how):
    (tmp_path / "long.py").write_text("import time\ndef train(trial): time.sleep(600)")
    code = f"""
from pathlib import Path
from tuner.scripts.script import Script
from tuner.scripts.training import run_training
script = Script.of_function("long:train", Path({str(tmp_path)!r}))
run_training(script, strength=0, seed=1, confirming=False, folder=Path({str(tmp_path)!r}))
"""
    driver = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    wait_until(lambda: len(left(str(tmp_path))) == 2)
    driver.send_signal(how)
    driver.wait(60)
    wait_until(lambda: not left(str(tmp_path)))


def test_a_training_that_ended_well_is_not_trained_again(tmp_path):
    """As when the driver is killed, or its database away, before it has written down the end."""
    count = "(trial.folder.parent / 'count').open('a').write('x')"
    code = f"import sys\ndef train(trial): {count}; trial.report(acc=[0, 1]); sys.exit(trial.seed)"
    (tmp_path / "counted.py").write_text(code)
    script = Script.of_function("counted:train", tmp_path)

    def trained(*, strength=0.1, seed=0, folder="0", resume=True):
        folder = tmp_path / folder
        try:
            reported = run_training(
                script, strength=strength, seed=seed, confirming=False, folder=folder, resume=resume
            )
            assert reported.scores["acc"].tolist() == [0, 1]
            assert reported.seconds > 0
        except ScriptError:
            assert seed
        return len((folder / "count").read_text())

    assert [trained(), trained(), trained(resume=False), trained(), trained()] == [1, 1, 2, 2, 2]
    assert [trained(strength=0.2), trained(strength=0.2), trained()] == [3, 3, 4]
    assert [trained(seed=1, folder="1"), trained(seed=1, folder="1")] == [1, 2]


# As `accelerate launch` does, and what `torchrun` tells.
ACCELERATE = "subprocess.run([sys.executable, 'rank.py'], check=True)"
TORCHRUN = """
if subprocess.run([sys.executable, 'rank.py']).returncode:
    sys.exit('Traceback (most recent call last):\\nChildFailedError:\\nSignal 9 (SIGKILL)')
"""


@pytest.mark.parametrize(
    ("launch", "fault", "words", "times"),
    [
        (ACCELERATE, "os.kill(os.getpid(), 9)", r"it was killed \(SIGKILL\) 3 times", 3),
        (TORCHRUN, "os.kill(os.getpid(), 9)", r"it was killed \(SIGKILL\) 3 times", 3),
        (ACCELERATE, "raise ValueError('SIGKILL')", "it raised ValueError: SIGKILL", 1),
        (ACCELERATE, "sys.exit(3)", "it raised CalledProcessError: .* exit status 3", 1),
    ],
)
def test_what_its_launcher_says_was_killed_is_run_again(tmp_path, launch, fault, words, times):
    (tmp_path / "rank.py").write_text(f"import os, sys\nopen('count', 'a').write('x')\n{fault}")
    (tmp_path / "launch.py").write_text(f"import subprocess, sys\n{launch}")
    command = (sys.executable, "launch.py", "{strength}", "{seed}")
    script = Script.of_command(command, tmp_path)
    with pytest.raises(ScriptError, match=words):
        run_training(script, strength=0.1, seed=1, confirming=False, folder=tmp_path / "out")
    assert len((tmp_path / "count").read_text()) == times


def test_nothing_is_left_of_a_training_whose_supervisor_is_killed(tmp_path):
    lonely = "trial.report(acc=[0, 1]); subprocess.Popen(['sleep', '600'], start_new_session=True)"
    code = f"import os, subprocess\ndef train(trial): {lonely}; os.kill(os.getppid(), 9); input()"
    (tmp_path / "killer.py").write_text(code)
    script = Script.of_function("killer:train", tmp_path)
    with pytest.raises(ScriptError, match=r"killer:train: the process that watches .* Try"):
        run_training(script, strength=0.1, seed=1, confirming=False, folder=tmp_path)
    wait_until(lambda: not left(str(tmp_path)))


def test_a_training_that_is_killed_begins_once_more_from_its_checkpoint(tmp_path):
    code = """import os
def train(trial):
    begun = trial.checkpoint / "begun"
    if not begun.exists():
        begun.touch()
        os.kill(os.getpid(), 9)
    trial.report(acc=[0, 1])
"""
    (tmp_path / "once.py").write_text(code)
    script = Script.of_function("once:train", tmp_path)
    reported = run_training(script, strength=0.1, seed=1, confirming=False, folder=tmp_path)
    assert reported.scores["acc"].tolist() == [0, 1]
    assert not (tmp_path / "checkpoint").exists()  # it is needed no more


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_beginning_and_the_end_of_what_is_printed_are_kept(tmp_path):
    code = "print('first'); print('x' * 9_000_000); print('last')"
    words = (sys.executable, "-c", code, "{strength}", "{seed}")
    script = Script.of_command(words, tmp_path)
    with pytest.raises(ScriptError, match="reported nothing"):
        run_training(script, strength=0.1, seed=1, confirming=False, folder=tmp_path)
    log = (tmp_path / "log.txt").read_text()
    assert log.startswith("first\nxxx")
    assert log.endswith("xxx\nlast\n")
    kept = log.count("x") - "bytes left out".count("x")
    assert f"[tuner: {9_000_000 - kept:,} bytes left out]" in log
    assert 2 * 2**20 <= len(log) < 2.01 * 2**20


@pytest.mark.parametrize("line", ["3", "[1]", '{"loss": "high"}', "{", '{"loss": 1}\\x00'])
def test_curves_that_cannot_be_read_are_left(tmp_path, line):
    code = f"print(open(r'{tmp_path}/out/epochs.jsonl', 'w').write('{line}'))"
    words = ("-c", f"{code}; import tuner; tuner.report(acc=[0, 1])", "{strength}", "{seed}")
    script = Script.of_command((sys.executable, *words), tmp_path)
    reported = run_training(script, strength=0.1, seed=1, confirming=False, folder=tmp_path)
    assert reported.curves == {}


def test_a_folder_that_is_gone_is_named(tmp_path):
    script = Script.of_command(("true", "{strength}", "{seed}"), tmp_path / "gone")
    with pytest.raises(ScriptError, match=r"'true' cannot be started .*No such file .*/gone'"):
        run_training(script, strength=0.1, seed=1, confirming=False, folder=tmp_path)


def test_the_exception_of_a_launcher_is_not_the_one_that_is_told():
    launched = """Traceback (most recent call last):
  File "/home/me/train.py", line 3, in <module>
    main()
ValueError: bad batch
Traceback (most recent call last):
  File "/usr/bin/launch", line 10, in <module>
subprocess.CalledProcessError: Command '['python']' returned non-zero exit status 1.
"""
    assert raised_words(launched) == "it raised ValueError: bad batch (train.py, line 3)"
    assert raised_words("Loss: 3\nError: no\n") is None
