"""What is found about trainings whose faults are known."""

import json
import re
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from tuner.cli.main import app
from tuner.errors import ScriptError
from tuner.scripts.check import findings_of
from tuner.scripts.reported import Reported

ROWS = 600
HARD = np.random.default_rng(99).normal(size=ROWS)


class Simulated:
    """A training whose scores are known functions of λ and seed."""

    strength_counts = seed_counts = pairs = True
    noise = 0.0
    off_at_zero = in_order = True
    breaks_from = np.inf
    ids = False
    mean_alone = False
    saturated = curves = False

    def __init__(self, **faults):
        for name, value in faults.items():
            assert hasattr(self, name)
            setattr(self, name, value)
        self.trained = []
        self.luck = np.random.default_rng(0)  # another in each run, as noise is

    def __call__(self, strength, seed, *, confirming=False):
        self.trained.append((strength, seed))
        if strength >= self.breaks_from:
            raise ScriptError("it raised FloatingPointError: loss is NaN")
        key = [seed if self.seed_counts else 0]
        if not self.pairs:
            key.append(int(1000 * strength))
        elif not self.off_at_zero:
            key.append(int(strength > 0))
        rng = np.random.default_rng(key)
        effect = 0.4 * strength if self.strength_counts else 0.0
        skill = rng.normal(0.5, 0.05) + effect + rng.normal(scale=0.7, size=ROWS)
        skill += self.luck.normal(scale=self.noise, size=ROWS)
        correct = (skill > HARD).astype(float)
        if self.saturated:
            told = {"validation_loss": skill[:5]} if self.curves else {}
            return Reported(scores={"acc": np.ones(ROWS)}, curves=told)
        if self.mean_alone:
            return Reported(scores={"acc": correct[:1] * 0 + skill.mean()}, counts={"acc": ROWS})
        order = np.arange(ROWS) if self.in_order else rng.permutation(ROWS)
        return Reported(
            scores={"acc": correct[order]}, row_ids=np.arange(ROWS) if self.ids else None
        )


def found(**faults):
    return {f.check: (f.status, f.words) for f in findings_of(Simulated(**faults))}


def test_a_good_training_has_no_findings_but_good_ones():
    findings = found()
    assert {status for status, _ in findings.values()} == {"good"}
    assert list(findings) == ["training", "repetition", "seed", "rows", "λ", "λ = 0", "pairing"]


@pytest.mark.parametrize(
    ("faults", "check", "status", "words"),
    [
        (
            {"seed_counts": False},
            "seed",
            "fault",
            "Seeds 0 and 1 give the same scores: the seed is",
        ),
        (
            {"strength_counts": False},
            "λ",
            "fault",
            "λ = 0 and λ = 4 give the same scores: λ is not",
        ),
        ({"noise": 0.3}, "repetition", "doubt", "noise from run to run"),
        ({"noise": 0.3}, "λ = 0", "unseen", "cannot be told, as trainings differ"),
        ({"noise": 0.3, "seed_counts": False}, "seed", "doubt", "the seed may not be used"),
        ({"noise": 0.3, "strength_counts": False}, "λ", "doubt", "λ may not be used"),
        ({"in_order": False}, "rows", "doubt", "if rows come in another order .* report row_id"),
        ({"ids": True}, "rows", "good", "by their row_id"),
        ({"breaks_from": 1}, "λ", "doubt", "λ = 4, .* fails: .* is NaN.* --max-lambda 1"),
        ({"off_at_zero": False}, "λ = 0", "doubt", "the alignment part draws random numbers"),
        ({"pairs": False}, "pairing", "doubt", "seeds, [0-9,]+ more than with half of the noise"),
        ({"mean_alone": True}, "pairing", "unseen", "that takes scores of rows"),
        ({"saturated": True}, "seed", "doubt", "one for all rows: either the seed is not used,"),
        ({"saturated": True}, "λ", "doubt", "either λ is not used, or .* Report finer scores"),
        ({"saturated": True, "curves": True}, "seed", "doubt", "other curves: .* Report finer"),
        ({"saturated": True, "curves": True}, "λ = 0", "good", "trains as a λ does that weighs"),
        (
            {"saturated": True, "curves": True, "off_at_zero": False},
            "λ = 0",
            "doubt",
            "draws random numbers",
        ),
        ({"mean_alone": True}, "rows", "unseen", "cannot be told: report row_id"),
    ],
)
def test_a_known_fault_is_found(faults, check, status, words):
    found_status, found_words = found(**faults)[check]
    assert found_status == status, found_words
    assert re.search(words, found_words), found_words


def test_nothing_is_trained_after_a_fault():
    train = Simulated(seed_counts=False)
    *_, last = findings_of(train)
    assert last.status == "fault"
    assert train.trained == [(0.0, 0), (0.0, 0), (0.0, 1)]


TRAIN = """
import sys
import numpy as np
import tuner

trial = tuner.current_trial()
rng = np.random.default_rng(trial.seed)
hard = np.random.default_rng(9).normal(size=100)
tuner.report(acc=rng.normal(size=100) + trial.strength > hard)
if trial.confirming and "forgets" not in sys.argv:
    tuner.report_test(acc=rng.normal(size=100) + trial.strength > hard)
"""


@pytest.mark.integration
@pytest.mark.parametrize("words", [(), ("forgets",)])
def test_a_command_is_checked(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNER_HOME", str(tmp_path / "home"))
    (tmp_path / "my_train.py").write_text(TRAIN)
    command = ["check", "--json", "--", sys.executable, "my_train.py", *words]
    ended = CliRunner().invoke(app, command)
    told = json.loads(ended.stdout)
    assert ended.exit_code == int(bool(words))
    assert told["works"] == (not words)
    statuses = [finding["status"] for finding in told["findings"]]
    if words:
        assert statuses == ["good", "fault"]
        assert "'acc_test' is missing" in told["findings"][-1]["words"]
    else:
        assert statuses[:6] == ["good"] * 6
    ended = CliRunner().invoke(app, ["check", "absent:train"])
    assert ended.exit_code == 2
    assert "cannot find the file of 'absent'" in ended.stderr
