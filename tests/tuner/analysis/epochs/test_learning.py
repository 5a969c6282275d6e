"""λs that were cut short are named, and decide nothing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from tests.support import worlds
from tests.support.in_process import answer_in_process
from tests.support.simulated import DECIDED, simulate
from tuner.analysis.epochs.learning import StillLearning, epochs_wanted, still_learning
from tuner.cli.console import show_answer
from tuner.data import from_arrays
from tuner.models.compute.device import prepare_process
from tuner.models.config import TrainingConfig
from tuner.models.training.loop import train
from tuner.reporting.note import result_note
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import TrialRequest

SPEC = DECIDED.model_copy(update={"training": TrainingConfig(epochs=20)})


def falling(strength: float, epochs: int) -> np.ndarray:
    """A loss that falls as 1/epochs from λ = 1 on, and below it ends after a few."""
    steps = np.arange(1, epochs + 1)
    return 1 / steps if strength >= 1 else 1 / np.minimum(steps, 5)


def outcome(losses, strength=1.0):
    """An outcome of a modality with these validation losses, (replicates, epochs)."""
    study = Study.of(SPEC, worlds.null(0))
    request = TrialRequest(phase="search", number=0, strength=strength, seeds=(1, 2, 3))
    made = simulate(lambda _: 0.5)(request, study.data, study.training, study.test_rows)
    curves = dict.fromkeys(("validation_loss_a", "validation_loss_b"), np.asarray(losses, float))
    return replace(made, curves=curves)


# The rule


@pytest.mark.parametrize(
    ("losses", "wanted"),
    [
        # Of .95 that fell, 1/16 - 1/20 in the last 4 epochs: .01316, which asks for 26.3 epochs.
        (1 / np.arange(1, 21), 27),
        (1 / np.minimum(np.arange(1, 21), 10), None),
        (np.linspace(2, 1, 20), 430),  # 4/19 of it: 421
        (np.linspace(2, 1, 5), 130),  # the last epoch of four falls: 125
        (np.ones(20), None),
        (np.linspace(1, 2, 20), None),  # it rises: the first epoch is kept
        (np.ones(1), 100),  # nobody knows
        ([2, 1], 200),
    ],
)
def test_learning_is_what_lowered_the_loss_in_the_last_fifth_of_the_epochs(losses, wanted):
    for side in ("a", "b"):
        assert epochs_wanted(outcome([losses]), side) == wanted


def test_most_replicates_decide_and_those_without_patience_have_learned_out():
    learns, stopped = np.linspace(2, 1, 20), np.linspace(2, 1, 20)
    stopped[-1] = np.nan
    assert epochs_wanted(outcome([learns, learns, stopped]), "a") == 430
    assert epochs_wanted(outcome([learns, stopped, stopped]), "a") is None


@given(scale=st.floats(0.01, 100), shift=st.floats(-10, 10), epochs=st.integers(5, 60))
def test_units_of_the_loss_change_nothing(scale, shift, epochs):
    losses = 1 / np.sqrt(np.arange(1, epochs + 1))
    assert epochs_wanted(outcome([shift + scale * losses]), "a") == pytest.approx(
        epochs_wanted(outcome([losses]), "a"), rel=0.1
    )


# What is said


def said(a, b=()):
    learning = StillLearning(
        epochs=20,
        tried=(0.0, 0.5, 1.0, 2.0, 4.0),
        wanted={"a": dict.fromkeys(a, 40), "b": dict.fromkeys(b, 90)},
    )
    return learning.warnings


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ((1.0,), (), "A at λ = 1. What is lost there"),
        ((4.0, 0.5), (4.0, 0.5), "A and B at λ = 0.5 and 4. "),
        ((0.5, 1.0, 4.0), (), "A at λ = 0.5, 1 and 4. "),
        ((1.0, 2.0, 4.0), (4.0,), "A at every λ from 1 on; B at λ = 4. "),
        ((), (0.0, 0.5, 1.0, 2.0, 4.0), "B at every λ. "),
    ],
)
def test_a_warning_names_the_strengths_and_the_epochs(a, b, words):
    (told,) = said(a, b)
    assert told.startswith(f"Still learning after 20 epochs, by the validation loss: {words}")
    enough = 90 if b else 40
    assert told.endswith(f"{enough} would do (--epochs {enough}).")


def test_a_warning_names_the_steps_where_there_are_too_few_for_the_epochs():
    learning = StillLearning(
        epochs=20, tried=(0.0, 1.0), wanted={"a": {1.0: 90}, "b": {}}, steps=500, max_steps=10_000
    )
    (told,) = learning.warnings
    assert told.endswith("90 would do (--epochs 90 --max-steps 45000).")


def test_where_all_have_learned_out_nothing_is_said():
    assert said(()) == ()


# What is decided


def answered(accuracy, losses):
    return answer_in_process(SPEC, worlds.null(0, rows=1500), simulate(accuracy, losses=losses))


def never(_, epochs):
    return np.ones(epochs)


def always(_, epochs):
    return 1 / np.arange(1, epochs + 1)


CURVES = {
    "collapse": lambda strength: 0.4 if strength else 0.8,
    "falls": lambda strength: 0.8 - 0.1 * min(strength, 4),
    "flat": lambda strength: 0.8,
    "rises": lambda strength: 0.6 + 0.05 * strength,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("curve", "losses", "reason"),
    [
        ("collapse", never, "harm shown"),
        ("collapse", falling, "harm shown"),  # weak alignment had learned out, and harms
        ("collapse", always, "needs more"),
        ("flat", never, "no gain worth having"),
        ("flat", falling, "needs more"),
        ("rises", never, "gain confirmed"),
        ("rises", falling, "gain confirmed"),  # more epochs can but raise it
        ("rises", always, "needs more"),  # λ = 0 would gain by more epochs
    ],
)
def test_what_was_still_learning_decides_nothing(curve, losses, reason, capsys):
    result = answered(CURVES[curve], losses)
    assert result.joint.reason == reason
    assert bool(result.warnings) == (losses is not never)
    show_answer(result)
    shown = " ".join(capsys.readouterr().out.split())
    for words in result.warnings:
        assert words in shown
        assert words in result_note(result)
    if result.joint.verdict == "undecided":
        assert result.joint.needs is None
        assert result.joint.needs_epochs == 27
        assert result.headline.endswith("; 27 epochs would tell.")
    else:
        assert result.joint.needs_epochs is None


def test_what_is_lost_where_alignment_still_learned_is_no_harm():
    """Strong alignment that was cut short falls; below it nothing is lost."""

    def cut_short(strength):
        return 0.8 - 0.1 * max(strength - 1, 0)

    assert answered(cut_short, never).joint.harm_from is not None
    result = answered(cut_short, falling)
    assert (result.joint.reason, result.joint.harm_from) == ("needs more", None)
    assert "every λ from 1" in result.warnings[0]


# On real curves


@pytest.fixture(scope="module")
def digits():
    """The upper and the lower half of images of digits."""
    pixels, y = load_digits(return_X_y=True)
    pixels = pixels.astype(np.float32)
    return from_arrays({"a": pixels[:, :32], "b": pixels[:, 32:], "y": y}, name="digits")


def trained(dataset, epochs, strengths):
    prepare_process()
    study = Study.of(StudySpec(training=TrainingConfig(epochs=epochs)), dataset)
    outcomes = {
        strength: train(study.data, study.training, strength=strength, seeds=(1, 2))
        for strength in strengths
    }
    scores = {
        k: study.validation.scores(o.predictions, "joint").mean() for k, o in outcomes.items()
    }
    return outcomes, scores


@pytest.mark.system
def test_on_digits_slow_learning_is_told_from_harm(digits):
    """After 20 epochs accuracy falls along λ; with as many as are named it does not."""
    outcomes, scores = trained(digits, 20, (0.0, 1.3))
    assert scores[1.3] < scores[0.0] - 0.02
    assert all((epochs_wanted(outcomes[0.0], side) or 0) < 30 for side in "ab")
    wanted = max(epochs_wanted(outcomes[1.3], side) for side in "ab")
    assert 40 <= wanted <= 100
    outcomes, scores = trained(digits, wanted, (1.3,))
    assert all(epochs_wanted(outcomes[1.3], side) is None for side in "ab")
    assert scores[1.3] > 0.9


@pytest.mark.parametrize("name", ["validation_loss", "val_loss", "eval_loss"])
def test_code_of_users_that_was_still_learning_is_warned_of(name):
    """Two of three seeds at λ = 2 fall to the last; others, and losses too few to tell, do not."""

    def one(strength, losses):
        return replace(outcome([losses], strength), curves={name: np.asarray([losses], float)})

    learnt, learning = falling(0, 20), falling(1, 20)
    told = [one(0.0, learnt), one(1.0, learnt), one(1.0, learning[:4])]
    assert still_learning(told) == ()
    told += [one(2.0, losses) for losses in (learning, learnt, learning)]
    (words,) = still_learning(told)
    assert "by the validation loss: λ = 2. What is lost" in words
    assert "1.4 times as many would do" in words  # 27 for 20
    assert still_learning([outcome([learning])]) == ()  # of a loss that nobody knows
