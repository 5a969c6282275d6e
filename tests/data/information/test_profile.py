"""The estimated profile: silent where there is nothing, true where the answer is known."""

import dataclasses
import functools

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from tests.support.grouped import groups_by_chance
from tests.support.soak import soaked
from tuner.data import from_arrays
from tuner.data.information.atoms import NAMES
from tuner.data.information.gate import Gate
from tuner.data.information.profile import Estimate, Profile, information_profile

AND = 0.75 * np.log2(4 / 3)
KNOWN = {
    "RDN": (1, 0, 0, 0),
    "UNQ": (0, 0, 1, 0),
    "COPY": (0, 1, 1, 0),
    "XOR": (0, 0, 0, 1),
    "AND": (AND, 0, 0, 0.5),
    "RDN-XOR": (1, 0, 0, 1),
}


def features(bits, rng):
    """Bits as ±1 with noise that flips hardly any, among nuisances, rotated."""
    signal = 2 * bits - 1 + 0.3 * rng.normal(size=bits.shape)
    full = np.hstack([signal, rng.normal(size=(len(bits), 4))])
    rotation, _ = np.linalg.qr(rng.normal(size=(full.shape[1],) * 2))
    return (full @ rotation).astype(np.float32)


def gate_world(name, rows, seed):
    rng = np.random.default_rng([seed, rows])
    a, b, both = rng.integers(0, 2, (3, rows))
    y = {
        "RDN": both,
        "UNQ": b,
        "COPY": 2 * a + b,
        "XOR": a ^ b,
        "AND": a & b,
        "RDN-XOR": 2 * both + (a ^ b),
    }[name]
    left, right = {"RDN": ((both,), (both,)), "RDN-XOR": ((both, a), (both, b))}.get(
        name, ((a,), (b,))
    )
    return from_arrays(
        {
            "a": features(np.stack(left, 1), rng),
            "b": features(np.stack(right, 1), rng),
            "y": y,
        },
        name=name,
        seed=seed,
    )


@functools.cache
def profile_of_gate(name, rows, seed):
    return information_profile(gate_world(name, rows, seed), seed=seed)


def independent(rows, seed, y=None):
    rng = np.random.default_rng([seed, rows])
    return from_arrays(
        {
            "a": rng.normal(size=(rows, 20)).astype(np.float32),
            "b": rng.normal(size=(rows, 20)).astype(np.float32),
            "y": rng.integers(0, 2, rows) if y is None else y,
        },
        name="independent",
        seed=seed,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "draws"),
    [
        *[(200, 3), (1000, 3), (5000, 2)],
        *(
            pytest.param(*case, marks=pytest.mark.soak)
            for case in [(200, soaked(50)), (1000, soaked(50)), (5000, soaked(20))]
        ),
    ],
)
def test_where_nothing_is_known_every_interval_holds_zero(rows, draws):
    profiles = [information_profile(independent(rows, seed), seed=seed) for seed in range(draws)]
    for name in NAMES:
        holds = sum(getattr(profile, name).low == 0 for profile in profiles)
        assert holds >= 0.9 * draws, name
    assert sum(profile.regime == "unknown" for profile in profiles) >= 0.95 * draws


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, pytest.param(soaked(6), marks=pytest.mark.soak)])
def test_where_the_answer_is_known_the_intervals_cover_it_or_the_profile_says_otherwise(seeds):
    covered, reliable = [], 0
    for name, truth in KNOWN.items():
        for seed in range(seeds):
            profile = profile_of_gate(name, 2500, seed)
            reliable += profile.reliable
            for atom, value in zip(NAMES, truth, strict=True):
                estimate = getattr(profile, atom)
                # The noise of the features takes up to .01 bit from the truth of the bits.
                if profile.reliable:
                    covered.append(estimate.low - 0.01 <= value <= estimate.high + 0.01)
    assert reliable >= 5 * seeds
    assert np.mean(covered) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "regime"), [("RDN", "align"), ("UNQ", "do not align"), ("XOR", "unknown")]
)
def test_the_shares_give_the_regime(name, regime):
    assert profile_of_gate(name, 2500, 0).regime == regime


def test_too_few_rows_are_said_to_be():
    profile = information_profile(gate_world("XOR", 400, 0))
    assert not profile.reliable
    assert "340 labelled rows are too few: predictions from A and B together" in profile.reason
    few = information_profile(gate_world("RDN", 60, 0))
    assert "at least 60 are needed" in few.reason
    assert few.regime == "unknown"
    assert few.focus is None


def groups_world(label_of, groups=40, rows=25):
    """Every group is known by its features in either modality, and so is a row's label."""
    world = groups_by_chance(groups, rows, 0)
    rng = np.random.default_rng(0)
    y = world.y if label_of == "groups" else rng.permutation(world.y)
    a, b = (side.values.copy() for side in (world.a, world.b))
    for view in (a, b):
        view[:, 0] = 2 * y - 1 + 0.3 * rng.normal(size=len(y))
    return from_arrays({"a": a, "b": b, "y": y, "group": world.group}, name="groups")


@pytest.mark.slow
def test_a_label_that_groups_have_by_chance_is_not_known_of_new_groups():
    """Rows of a group know each other: taken for independent, they share most of a bit."""
    worlds = [groups_by_chance(40, 25, seed) for seed in range(2)]
    profiles = [information_profile(world) for world in worlds]
    assert np.mean([profile.R.value for profile in profiles]) < 0.05
    assert all(getattr(profile, name).low == 0 for profile in profiles for name in NAMES)
    assert all(profile.regime == "unknown" for profile in profiles)
    assert all(profile.gate.helps is None for profile in profiles)
    assert profiles[0].groups == 34  # of training and validation
    assert information_profile(dataclasses.replace(worlds[0], group=None)).R.value > 0.5


@pytest.mark.parametrize("label_of", ["groups", "rows"])
def test_a_label_that_all_groups_show_is_known_of_new_groups(label_of):
    profile = information_profile(groups_world(label_of))
    assert profile.R.low > 0.3
    assert profile.R.value > 0.6
    assert profile.R.high >= 0.98
    assert profile.gate.signal == 1


def test_groups_of_one_row_are_rows():
    world = gate_world("AND", 600, 0)
    alone = dataclasses.replace(world, group=np.arange(600))
    grouped, plain = information_profile(alone), profile_of_gate("AND", 600, 0)
    for name in NAMES:
        assert getattr(grouped, name).value == pytest.approx(getattr(plain, name).value, abs=0.05)
    assert grouped.groups == (world.split != 2).sum()


@pytest.mark.parametrize(("groups", "many"), [(1, "1 group"), (3, "3 groups"), (8, "8 groups")])
def test_too_few_groups_are_said_to_be(groups, many):
    world = gate_world("RDN", 600, 0)
    few = dataclasses.replace(world, group=np.arange(600) % groups)
    profile = information_profile(few)
    assert f"510 labelled rows of {many} are too few: at least 10 groups" in profile.reason
    assert profile.regime == "unknown"


def test_real_labels_count_by_their_quarter():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(1500, 1))
    world = from_arrays(
        {
            "a": (shared + 0.01 * rng.normal(size=(1500, 3))).astype(np.float32),
            "b": (shared + 0.01 * rng.normal(size=(1500, 3))).astype(np.float32),
            "y": shared[:, 0],
        },
        name="line",
    )
    profile = information_profile(world)
    assert profile.entropy == pytest.approx(2, abs=1e-3)
    assert profile.R.value > 1.5
    assert profile.regime == "align"


def test_sequences_and_images_are_read_and_padding_is_not():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 800)
    steps = rng.normal(size=(800, 6, 3)) + y[:, None, None]
    mask = np.arange(6) < rng.integers(1, 7, 800)[:, None]
    images = rng.normal(size=(800, 2, 20, 20))
    images[:, 1, :10] += y[:, None, None]

    def profile_with(padding):
        filled = np.where(mask[:, :, None], steps, padding).astype(np.float32)
        arrays = {"a": filled, "a_mask": mask, "b": images.astype(np.float32), "y": y}
        return information_profile(from_arrays(arrays, name="mixed"))

    first = profile_with(0.0)
    assert first.R.value > 0.5
    assert first == profile_with(1e6)


def test_test_rows_and_unlabelled_rows_have_no_part():
    world = gate_world("RDN", 600, 3)
    test = world.split == 2
    values = world.a.values.copy()
    values[test] = 99.0
    other = dataclasses.replace(world, a=dataclasses.replace(world.a, values=values))
    profile = profile_of_gate("RDN", 600, 3)
    assert information_profile(other, seed=3) == profile
    assert profile.rows == (~test).sum()


def test_threads_change_nothing():
    world = gate_world("AND", 600, 0)
    profiles = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            profiles.append(information_profile(world))
    assert profiles[0] == profiles[1]


def profile_of(shared, own, low=None):
    nothing = Estimate(value=0, low=0, high=0)
    redundant = Estimate(value=shared, low=shared if low is None else low, high=shared)
    unique = Estimate(value=own, low=own, high=own)
    gate = Gate(signal=0, nuisance=0, ratio=None)
    return Profile(
        R=redundant,
        U_a=unique,
        U_b=nothing,
        S=nothing,
        entropy=1.0,
        rows=9,
        reason=None,
        gate=gate,
        b_from_a=gate,
        a_from_b=gate,
    )


@pytest.mark.parametrize(
    ("ratios", "objective"),
    [
        ((2.0, 0.5, 2.0), "either"),
        ((2.0, 0.5, 0.5), "align"),
        ((0.5, 0.5, 2.0), "predict"),
        ((0.5, 0.5, 0.5), "neither"),
        ((None, None, None), "unknown"),
    ],
)
def test_four_regimes_of_two_objectives(ratios, objective):
    gates = [
        Gate(signal=0, nuisance=1, ratio=None)
        if ratio is None
        else Gate(signal=1, nuisance=1, ratio=ratio)
        for ratio in ratios
    ]
    named = dict(zip(("gate", "b_from_a", "a_from_b"), gates, strict=True))
    assert dataclasses.replace(profile_of(0.9, 0.1), **named).objective == objective


def test_prediction_gates_know_the_scale_of_what_is_predicted():
    """Many features say what one latent is: as a target it is large, and comes first."""
    rng = np.random.default_rng(3)
    label, other = rng.normal(size=(2, 3000))
    y = (label > 0).astype(np.int64)

    def view(of_label, of_other):
        sources = np.repeat([label, other], [of_label, of_other], axis=0)
        return (sources + 0.7 * rng.normal(size=sources.shape)).T.astype(np.float32)

    data = from_arrays({"a": view(4, 4), "b": view(1, 12), "y": y}, name="scales", seed=0)
    profile = information_profile(data)
    assert profile.b_from_a.helps is False  # B is the nuisance, for the most part
    assert profile.b_from_a.ratio < profile.gate.ratio


@pytest.mark.parametrize(
    ("shared", "own", "regime", "focus"),
    [
        (0.9, 0.1, "align", (0.4, 1.0)),
        (0.5, 0.5, "interior", (0.2, 0.75)),
        (0.1, 0.9, "do not align", (0.0, 0.4)),
    ],
)
def test_the_regime_decides_where_the_search_looks_first(shared, own, regime, focus):
    profile = profile_of(shared, own)
    assert (profile.regime, profile.focus) == (regime, focus)


@pytest.mark.parametrize(("low", "regime"), [(0.09, "unknown"), (0.11, "align")])
def test_an_interval_that_hardly_leaves_zero_gives_no_regime(low, regime):
    assert profile_of(0.3, 0.0, low).regime == regime


def test_an_estimate_is_in_its_interval():
    with pytest.raises(ValueError, match="low ≤ value ≤ high"):
        Estimate(value=0.2, low=0.3, high=0.4)
