"""Rows that repeat others are found, stay in one split, and are named."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tuner import data
from tuner.data import Split
from tuner.data.inspection import inspect


def world(rows=200, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "a": rng.normal(size=(rows, 6)).astype("f4"),
        "b": rng.normal(size=(rows, 4, 3)).astype("f4"),
        "y": np.arange(rows) % classes,
    }


def chosen(arrays, **index):
    """Each array, with rows of its own."""
    return {name: values[index.get(name, index["all"])] for name, values in arrays.items()}


def straddling(dataset, side):
    """Naively: how many distinct rows of a side stand in more than one split."""
    values = getattr(dataset, side).values.reshape(dataset.rows, -1)
    parts = {}
    for value, part in zip(map(bytes, values), dataset.split, strict=True):
        parts.setdefault(value, set()).add(int(part))
    return sum(len(each) > 1 for each in parts.values())


def same_partition(one, other):
    """Whether two numberings put the same rows together."""
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


def most_linked(arrays):
    """Naively: the most rows that hang together by equal A or B."""
    rows = range(len(arrays["y"]))
    label = list(rows)
    for _ in rows:
        before = list(label)
        for name in ("a", "b"):
            least = {}
            for row in rows:
                value = bytes(arrays[name][row])
                least[value] = min(least.get(value, row), label[row])
            label = [least[bytes(arrays[name][row])] for row in rows]
        if label == before:
            break
    return np.bincount(label).max()


COPIES = st.lists(st.integers(0, 199), min_size=10, max_size=40, unique=True)


@given(copies_of_a=COPIES, copies_of_b=COPIES, seed=st.integers(0, 5))
def test_a_split_made_here_tears_no_copies_apart(copies_of_a, copies_of_b, seed):
    arrays = world()
    for name, copies in (("a", copies_of_a), ("b", copies_of_b)):
        arrays[name][: len(copies)] = arrays[name][copies]
    assume(most_linked(arrays) <= 10)
    dataset = data.from_arrays(arrays, seed=seed)
    assume(dataset.copies is not None)
    assert straddling(dataset, "a") == straddling(dataset, "b") == 0
    for part in Split:
        assert set(dataset.y[dataset.indices(part)]) == {0, 1}


def test_five_captions_of_an_image_stay_together():
    index = np.repeat(np.arange(100), 5)
    arrays = chosen(world(500), all=index, b=np.arange(500))
    dataset = data.from_arrays(arrays)
    assert straddling(dataset, "a") == 0
    assert (np.bincount(dataset.split) == [350, 75, 75]).all()
    assert same_partition(dataset.group, index)
    assert same_partition(dataset.copies, index)
    (told,) = (text for text in dataset.warnings if "repeat" in text)
    assert told.startswith("400 rows repeat 'a' of an earlier row, of 500 rows in all.")


def test_copies_with_and_without_a_label_share_a_split():
    arrays = chosen(world(100, classes=1), all=np.resize(np.arange(100), 200))
    arrays["y"] = np.where(np.arange(200) < 100, np.arange(200) % 2, -1)
    dataset = data.from_arrays(arrays)
    assert (dataset.split[:100] == dataset.split[100:]).all()
    assert len(dataset.indices(Split.TEST, labelled_only=True)) == 15


def test_groups_that_copies_link_stay_together():
    arrays = world(200) | {"group": np.arange(200) // 4}
    arrays["b"][4:40:8] = arrays["b"][0:36:8]
    dataset = data.from_arrays(arrays)
    assert straddling(dataset, "b") == 0
    assert all(len(set(dataset.split[arrays["group"] == each])) == 1 for each in range(50))
    linked = dataset.group[[0, 3, 4, 7]]
    assert len(set(linked)) == 1
    assert len(set(dataset.group)) == 50 - 5


def test_without_copies_nothing_changes():
    plain = data.from_arrays(world())
    assert plain.group is None
    assert plain.copies is None
    mfeat = data.read("mfeat", a="fou", b="kar")  # 6 of its 2,000 rows repeat others
    assert mfeat.group is None
    assert mfeat.copies is None
    assert mfeat.warnings == ()


def test_copies_may_be_torn_apart_but_not_unsaid():
    index = np.repeat(np.arange(100), 2)
    arrays = chosen(world(), all=index)
    apart = data.from_arrays(arrays, keep_copies_apart=True)
    assert apart.group is None
    distinct = world() | {"y": arrays["y"]}
    assert (apart.split == data.from_arrays(distinct).split).all()
    told = "\n".join(apart.warnings)
    for part in (Split.VALIDATION, Split.TEST):
        rows = apart.indices(part)
        repeats = np.isin(index[rows], index[apart.indices(Split.TRAIN)]).sum()
        assert f"{repeats} of 30 {part.name.lower()} rows repeat 'a' or 'b' of training" in told
    assert "--keep-copies-apart" in told
    assert apart.fingerprint == data.from_arrays(arrays).fingerprint


def test_a_given_split_is_respected_and_warned_about():
    arrays = world(120) | {"split": np.repeat([0, 1, 2], 40)}
    arrays["a"][80:90] = arrays["a"][:10]
    dataset = data.from_arrays(arrays)
    assert (dataset.split == arrays["split"]).all()
    (told,) = (text for text in dataset.warnings if "memory" in text)
    assert told.startswith("10 of 40 test rows repeat 'a' of training rows (first: row 80")


def test_a_class_of_too_few_samples_leaves_copies_apart():
    arrays = chosen(world(), all=np.resize(np.arange(100), 200))
    arrays["y"] = np.where(np.resize(np.arange(100), 200) < 2, 1, 0)  # four rows, two samples
    dataset = data.from_arrays(arrays)
    told = "\n".join(dataset.warnings)
    assert "Too few samples are left" in told
    assert "tell of memory" in told
    assert (dataset.group == dataset.copies).all()  # they count as one all the same


@pytest.mark.parametrize(
    "build",
    [
        lambda rng: rng.integers(0, 2, (400, 6)),
        lambda rng: np.eye(10)[rng.integers(0, 10, 400)],
        lambda rng: rng.integers(1, 6, (400, 2)),
        lambda rng: np.round(rng.normal(size=(400, 1)), 1),
    ],
    ids=["bits", "one-hot", "ratings", "rounded"],
)
def test_coarse_values_that_meet_are_no_copies(build):
    rng = np.random.default_rng(0)
    dataset = data.from_arrays(world(400) | {"a": build(rng).astype("f4")})
    assert dataset.copies is None
    assert not any("repeat" in text for text in dataset.warnings)


def test_a_value_of_many_rows_is_no_copy():
    arrays = world(400)
    arrays["a"][::4] = 0  # blank images
    arrays["a"][1:80:4] = arrays["a"][2:81:4]  # 20 true copies
    dataset = data.from_arrays(arrays)
    assert any(
        "'a' has values that stand in more than 20 rows each (100 rows" in text
        for text in dataset.warnings
    )
    assert straddling(dataset, "a") == 1  # the blank one
    assert len(set(dataset.copies)) == 380


def test_steps_that_are_not_real_tell_rows_apart():
    arrays = world(100)
    arrays["b"][50:] = arrays["b"][:50]
    mask = np.ones((100, 4), bool)
    mask[50:, 3] = False
    assert data.from_arrays(arrays).copies is not None
    assert data.from_arrays(arrays | {"b_mask": mask}).copies is None


def test_inspection_tells_copies_from_groups(tmp_path):
    np.savez(tmp_path / "twice.npz", **chosen(world(), all=np.resize(np.arange(100), 200)))
    found = inspect(tmp_path / "twice.npz").reading
    assert (
        found["groups"] == "100 groups of 2 rows, which are copies of each other and count as one"
    )
    assert "copies together" in found["split"]


def test_a_class_of_too_few_samples_does_not_tear_the_others_apart():
    index = np.repeat(np.arange(100), 2)
    arrays = chosen(world(), all=index)
    arrays["y"] = np.where(index < 2, 2, index % 2)  # four rows, two samples
    dataset = data.from_arrays(arrays)
    others = index >= 2
    by_sample = np.stack([dataset.split[others][::2], dataset.split[others][1::2]])
    assert (by_sample[0] == by_sample[1]).all()
    assert all((dataset.y[dataset.indices(part)] == 2).any() for part in Split)


def test_copies_whose_labels_differ_stay_together():
    index = np.repeat(np.arange(60), 5)
    arrays = chosen(world(300), all=index, b=np.arange(300))
    arrays["y"] = np.where(np.arange(300) % 25 == 3, 2, np.arange(300) % 2)  # no first of a sample
    dataset = data.from_arrays(arrays)
    assert straddling(dataset, "a") == 0
    for part in Split:
        assert set(dataset.y[dataset.indices(part)]) == {0, 1, 2}


def test_copies_in_one_long_chain_are_said():
    rows = np.arange(200)
    arrays = chosen(world(), all=rows, a=rows // 2, b=(rows + 1) // 2 % 100)
    told = "\n".join(data.from_arrays(arrays).warnings)
    assert "100 rows repeat 'a' of an earlier row and 100 rows repeat 'b'" in told
    assert "Chains of them" in told
    assert "test rows repeat 'a' or 'b' of training rows" in told
    assert "count as one" not in told


def test_test_rows_that_repeat_validation_rows_are_said():
    arrays = world(120) | {"split": np.repeat([0, 1, 2], 40)}
    arrays["a"][80:90] = arrays["a"][40:50]
    (told,) = (text for text in data.from_arrays(arrays).warnings if "λ is chosen" in text)
    assert told.startswith("10 of 40 test rows repeat 'a' of validation rows (first: row 80")


def test_what_is_said_of_copies_is_what_is_done(tmp_path):
    arrays = chosen(world(), all=np.repeat(np.arange(100), 2))
    kept, apart = (
        data.from_arrays(arrays, keep_copies_apart=choice).warnings[0] for choice in (False, True)
    )
    assert "a split made here keeps them together" in kept
    assert "--keep-copies-apart" in kept
    assert apart.endswith("They count as rows of their own, as --keep-copies-apart asks.")
    np.savez(tmp_path / "few.npz", **chosen(world(30), all=np.repeat(np.arange(15), 2)))
    assert "some copies torn apart" in inspect(tmp_path / "few.npz").reading["split"]
