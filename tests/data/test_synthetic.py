"""Synthetic worlds: what they claim of themselves, by other means."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.data import read
from tuner.data.information.discrete import atoms, least_by_projections, mutual_information
from tuner.data.information.profile import information_profile
from tuner.data.synthetic import LABEL_FEATURES, WorldConfig, make_world

BITS = WorldConfig(continuous=False, rows=400)


def config(**changes) -> WorldConfig:
    return WorldConfig(**{"continuous": False, "rows": 400} | changes)


def values(truth) -> np.ndarray:
    return np.array([truth.R, truth.U_a, truth.U_b, truth.S])


@pytest.mark.slow
@pytest.mark.parametrize(("redundant", "synergistic"), [(2, 0), (2, 2), (4, 2), (3, 3)])
def test_the_truth_is_that_of_the_whole_joint_table(redundant, synergistic):
    """Nothing is assumed here of what the two modalities share."""
    changed = config(redundant=redundant, synergistic=synergistic, rows=200_000, temperature=0.5)
    world = make_world(changed, seed=4)
    own = changed.own + synergistic
    a, b = (
        side.values[:, [*range(redundant), *range(8, 8 + own)]] @ 2 ** np.arange(redundant + own)
        for side in (world.dataset.a, world.dataset.b)
    )
    size, y = 2 ** (redundant + own), world.dataset.y
    counts = np.zeros((size, size, changed.classes))
    np.add.at(counts, (a.astype(int), b.astype(int), y), 1)
    joint = counts / counts.sum()
    with_a, with_b = joint.sum(1), joint.sum(0)
    # Miller and Madow's bias of a plug-in estimate, which matters for the many values of (a, b).
    cells = 2 ** (redundant + 2 * own)
    bias = cells * (changed.classes - 1) / (2 * changed.rows * np.log(2))
    found = atoms(
        mutual_information(with_a),
        mutual_information(with_b),
        mutual_information(joint.reshape(-1, changed.classes)) - bias,
        least_by_projections(with_a[None], with_b[None])[0],
    )
    np.testing.assert_allclose(list(found.values()), values(world.truth), atol=0.01)


def test_all_eight_shared_are_redundancy_alone_and_all_eight_mixed_are_synergy_alone():
    assert values(make_world(config(redundant=8)).truth)[1:] == pytest.approx(0, abs=1e-9)
    mixed = values(make_world(config(redundant=0, synergistic=8)).truth)
    assert mixed[:3] == pytest.approx(0, abs=1e-9)
    assert mixed[3] > 1


def test_more_shared_features_are_more_redundancy():
    found = [make_world(config(redundant=r)).truth.R for r in (0, 2, 4, 6, 8)]
    assert found == sorted(found)


def test_label_noise_takes_information_away():
    clean, noisy, none = (
        values(make_world(config(redundant=4, label_noise=e)).truth).sum() for e in (0, 0.5, 1)
    )
    assert clean > 2 * noisy > 0
    assert none == pytest.approx(0, abs=1e-9)


def test_few_labels_are_of_every_class():
    asked = WorldConfig(redundant=4, rows=300, labelled=50)  # of the first 50 none is of class 3
    dataset = make_world(asked, seed=13).dataset
    known = (dataset.split == 0) & dataset.labelled
    assert known.sum() == 50
    assert set(dataset.y[known]) == {0, 1, 2, 3}


@given(st.integers(0, 4), st.integers(0, 2), st.booleans(), st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_worlds_are_what_was_asked_for(half, synergistic, continuous, seed):
    asked = WorldConfig(
        redundant=min(2 * half, LABEL_FEATURES - 2 * synergistic),
        synergistic=2 * synergistic,
        rows=300,
        labelled=50,
        continuous=continuous,
    )
    world, again = (make_world(asked, seed=seed) for _ in range(2))
    dataset = world.dataset
    assert dataset.rows == 300
    assert dataset.labelled[dataset.split == 0].sum() == 50
    assert dataset.labelled[dataset.split != 0].all()
    assert dataset.fingerprint == again.dataset.fingerprint
    assert dataset.fingerprint != make_world(asked, seed=seed + 1).dataset.fingerprint
    assert (values(world.truth) >= 0).all()


@pytest.mark.parametrize("redundant", [0, 4, 8])
def test_shared_nuisance_is_what_redundancy_leaves_of_eight_bits_unless_told(redundant):
    told = config(redundant=redundant, shared_nuisances=8 - redundant)
    worlds = [make_world(c, seed=5).dataset for c in (config(redundant=redundant), told)]
    assert worlds[0].fingerprint == worlds[1].fingerprint


def test_a_world_is_that_of_before_shared_nuisance_had_its_own_dial():
    assert (
        make_world(WorldConfig(rows=500), seed=7).dataset.fingerprint
        == "3c4c1f7a09407860535a54d0232b52711ca39f49e6913e8ddd1bd9a8258b5462"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("redundant", "nuisances"), [(2, 0), (2, 1), (0, 3), (4, 2)])
def test_shared_nuisance_is_shared_and_tells_nothing_of_the_label(redundant, nuisances):
    asked = config(redundant=redundant, shared_nuisances=nuisances, rows=100_000, temperature=0.5)
    world, shared = make_world(asked, seed=3), redundant + nuisances
    a, b = world.dataset.a.values, world.dataset.b.values
    np.testing.assert_array_equal(a[:, :shared], b[:, :shared])
    of_the_rest = np.corrcoef(a[:, shared:].T, b[:, shared:].T)
    assert np.abs(of_the_rest - np.eye(len(of_the_rest))).max() < 0.02
    counts = np.zeros((2**nuisances, asked.classes))
    np.add.at(
        counts,
        (
            (a[:, redundant:shared] @ 2 ** np.arange(nuisances)).astype(int),
            world.dataset.y,
        ),
        1,
    )
    assert mutual_information(counts / counts.sum()) < 1e-3
    assert values(world.truth) == pytest.approx(
        values(make_world(config(redundant=redundant, temperature=0.5), seed=3).truth)
    )


def test_canonical_correlations_count_the_shared_bits():
    """A shared bit is the sign of both latents, each ±|z|: they correlate by (E|z|)² = 2 / π."""
    plain = {"rows": 40_000, "depth_b": 0, "noise": 0.0}
    asked = WorldConfig(redundant=2, shared_nuisances=3, **plain)
    dataset = make_world(asked, seed=1).dataset
    bases = [np.linalg.qr(side.values - side.values.mean(0))[0] for side in (dataset.a, dataset.b)]
    correlations = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    assert correlations[:5] == pytest.approx(2 / np.pi, abs=0.02)
    assert (correlations[5:] < 0.05).all()


@pytest.mark.slow
def test_the_profile_sees_the_regimes():
    easy = {"rows": 3000, "temperature": 0.3, "depth_b": 0}
    shared, own = (
        information_profile(make_world(WorldConfig(redundant=r, **easy), seed=1).dataset)
        for r in (8, 0)
    )
    assert shared.regime == "align"
    assert own.regime != "align"


def test_a_saved_world_is_read_back_with_its_truth(tmp_path):
    world = make_world(config(redundant=6, labelled=100), name="saved")
    world.save(tmp_path / "saved.npz")
    assert read(str(tmp_path / "saved.npz")).fingerprint == world.dataset.fingerprint
    with np.load(tmp_path / "saved.npz") as archive:
        np.testing.assert_array_equal(archive["information"], values(world.truth))
    assert [path.name for path in tmp_path.iterdir()] == ["saved.npz"]


def test_a_world_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        make_world(BITS).save(tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_every_class_is_split_as_asked():
    dataset = make_world(config(rows=3000, training=0.3), seed=2).dataset
    for code in range(4):
        shares = (
            np.bincount(dataset.split[dataset.y == code], minlength=3) / (dataset.y == code).sum()
        )
        assert shares == pytest.approx([0.3, 0.35, 0.35], abs=0.02)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"redundant": 3}, "must leave an even number"),
        ({"redundant": 6, "synergistic": 4}, "must leave"),
        ({"rows": 10}, "at least 40 rows"),
        ({"labelled": 0}, "labelled must be 1 to rows"),
        ({"training": 1.0}, "a share of the pairs"),
        ({"temperature": 0}, "temperature above 0"),
        ({"depth_a": -1}, "at least 0"),
        ({"shared_nuisances": -1}, "shared_nuisances and depths are at least 0"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        config(**changes)
