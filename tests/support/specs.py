"""Specs of every kind, for laws that hold for each."""

from hypothesis import strategies as st

from tests.support.priors import families, prior
from tuner.analysis.curves.families import NODES
from tuner.models.config import BUILT_IN, TrainingConfig
from tuner.study.spec import OPTIONS, StudySpec, WarmStart, spec_from_options

PRIOR = prior(families(0.02 * NODES))
COUNTS = st.integers(1, 10**6)
POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
KINDS = st.sampled_from([*BUILT_IN, "my.module:build", "hf:/a folder/of 'mine'"])
STUDIES = st.text("0123456789abcdef", min_size=16, max_size=16)
BOUNDS = st.builds(
    "{} {}baseline {} {}".format,
    st.sampled_from(["a", "b", "joint"]),
    st.just(">= "),
    st.just("-"),
    st.floats(min_value=0, allow_infinity=False),
)

_OPTIONS = {
    "a": st.none() | WORDS,
    "b": st.none() | WORDS,
    "y": st.none() | WORDS,
    "split": st.none() | WORDS,
    "group": st.none() | WORDS,
    "a_mask": st.none() | WORDS,
    "b_mask": st.none() | WORDS,
    "a_lengths": st.none() | WORDS,
    "b_lengths": st.none() | WORDS,
    "keep_copies_apart": st.booleans(),
    "a_layout": st.sampled_from(["nchw", "nhwc", "nhw"]),
    "b_layout": st.sampled_from(["nchw", "nhwc", "nhw"]),
    "a_size": st.none() | st.sampled_from(["32x32", "8x1024"]),
    "b_size": st.none() | st.sampled_from(["32x32", "8x1024"]),
    "name": st.none() | WORDS,
    "task": st.sampled_from(["auto", "classification", "regression"]),
    "missing": st.lists(st.sampled_from(["-1", "", "nan", "none", "255"]), max_size=2).map(tuple),
    "metric": st.sampled_from(["auto", "accuracy", "balanced_accuracy", "macro_f1", "mae", "r2"]),
    "smallest_gain": st.none() | POSITIVE,
    "subject_to": st.lists(BOUNDS, max_size=2).map(tuple),
    "trials": st.integers(3, 1000),
    "replicates": st.integers(2, 1000),
    "confirm_replicates": st.integers(6, 1_999),
    "folds": st.sampled_from([1, 3, "auto"]),
    "validation_folds": st.sampled_from([1, 2]),
    "looks": st.sampled_from([(), (2_000,), (2_000, 10_000)]),
    "stop_early": st.booleans(),
    "batch": st.integers(1, 1000),
    "max_lambda": POSITIVE,
    "sampler": st.sampled_from(["gp", "tpe", "random", "grid"]),
    "seed": st.integers(0, 2**32 - 1),
    "nuisance": st.sampled_from(["none", "first", "joint"]),
    "nuisance_trials": st.integers(2, 1000),
    "nuisance_parameters": st.lists(
        st.sampled_from(["learning_rate", "weight_decay", "temperature", "hidden"]), min_size=1
    ),
    "halving": st.integers(1, 10),
    "warm_start": st.none()
    | st.builds(WarmStart, study=STUDIES, interval=st.tuples(st.just(0.0), POSITIVE)),
    "prior": st.none() | st.just(PRIOR),
    "cpus": COUNTS,
    "gpus": st.floats(0, 1) | st.integers(1, 64),
    "ranks": COUNTS,
    "encoder_a": KINDS,
    "encoder_b": KINDS,
    "pretrained": st.sampled_from(["frozen", "fine-tuned"]),
    "depth": COUNTS,
    "hidden": COUNTS,
    "heads": COUNTS,
    "patch": COUNTS,
    "sample_rate": st.integers(1000, 10**6),
    "embedding": COUNTS,
    "projection": st.sampled_from(["mlp", "linear", "none"]),
    "projection_width": COUNTS,
    "temperature": POSITIVE,
    "negatives": st.sampled_from(["auto", "all", "other-groups"]),
    "epochs": COUNTS,
    "max_steps": COUNTS,
    "patience": COUNTS,
    "batch_size": st.integers(2, 10**6),
    "learning_rate": POSITIVE,
    "weight_decay": st.floats(min_value=0, allow_infinity=False),
    "precision": st.sampled_from(["auto", "float32", "bfloat16"]),
}
assert _OPTIONS.keys() == OPTIONS.keys()


def specs() -> st.SearchStrategy[StudySpec]:
    """Any spec: some of its options are given, the others stay as they are."""
    return (
        st.fixed_dictionaries({}, optional=_OPTIONS)
        .filter(lambda given: given.get("folds") != 3 or given.get("validation_folds", 1) == 1)
        .map(spec_from_options)
    )


def spec_of_all_options_changed() -> StudySpec:
    """A spec none of whose options is its default."""
    return StudySpec(
        a="p",
        b="q",
        y="r",
        split="fold",
        group="who",
        a_mask="real",
        b_mask="b real",
        a_lengths="steps",
        b_lengths="b steps",
        keep_copies_apart=True,
        a_layout="nhwc",
        b_layout="nhw",
        a_size="32x32",
        b_size="8x16",
        name="it's",
        task="classification",
        missing=("-1", "", "not known"),
        metric="accuracy",
        smallest_gain=0.005,
        subject_to=("a >= baseline - 0.01", "joint <= baseline + 2"),
        trials=30,
        replicates=5,
        confirm_replicates=7,
        folds="auto",
        validation_folds=4,
        looks=(14, 28),
        stop_early=True,
        batch=2,
        max_lambda=2.5,
        sampler="tpe",
        seed=3,
        nuisance="joint",
        nuisance_trials=9,
        nuisance_parameters=("temperature", "hidden"),
        halving=3,
        warm_start=WarmStart(study="0123456789abcdef", interval=(0.0, 1.0)),
        prior=PRIOR,
        cpus=2,
        gpus=0.25,
        ranks=4,
        training=TrainingConfig(
            encoder_a="cnn",
            encoder_b="my.module:build",
            pretrained="fine-tuned",
            depth=3,
            hidden=64,
            heads=2,
            patch=8,
            sample_rate=8000,
            embedding=32,
            projection="linear",
            projection_width=16,
            temperature=0.5,
            negatives="other-groups",
            epochs=20,
            max_steps=500,
            patience=5,
            batch_size=64,
            learning_rate=1e-4,
            weight_decay=0.0,
            precision="float32",
        ),
    )
