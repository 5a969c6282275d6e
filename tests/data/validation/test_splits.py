"""Laws of the split that is made where none is given."""

import re
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tuner import data
from tuner.data.validation.division.splits import grouped_split, quotas, stratified_split
from tuner.data.validation.labels.reading import Labels

counts_of_classes = st.lists(st.integers(3, 200), min_size=1, max_size=12)


def labels_of(codes):
    codes = np.asarray(codes, dtype=np.int64)
    return Labels(y=codes, task="classification", classes=tuple(range(codes.max() + 1)))


@given(counts_of_classes)
def test_quotas_use_every_row_and_serve_every_split(counts):
    quota = quotas(np.array(counts))
    np.testing.assert_array_equal(quota.sum(axis=1), counts)
    assert quota.min() >= 1


@given(st.lists(st.integers(20, 400), min_size=1, max_size=12))
def test_quotas_are_as_near_to_70_15_15_as_rounding_permits(counts):
    counts = np.array(counts)
    quota = quotas(counts)
    ideal = np.outer(counts, [0.70, 0.15, 0.15])
    total = quota.sum(axis=0)
    assert np.abs(total - counts.sum() * np.array([0.70, 0.15, 0.15])).max() < 1
    assert np.abs(quota[:, 0] - ideal[:, 0]).max() < 1
    assert np.abs(quota - ideal).max() < 1.01


@pytest.mark.parametrize("rows", range(30, 300, 7))
def test_rows_of_one_class_divide_exactly(rows):
    train, validation, test = quotas(np.array([rows]))[0]
    assert abs(train - 0.70 * rows) <= 0.5
    assert abs(validation - test) <= 1


@given(counts_of_classes, st.integers(0, 50), st.integers(0, 2**32 - 1))
def test_stratified_split(counts, unlabelled, seed):
    codes = np.concatenate([np.repeat(np.arange(len(counts)), counts), np.full(unlabelled, -1)])
    split = stratified_split(labels_of(codes), seed)
    assert (split[codes < 0] == 0).all()
    for stratum, quota in enumerate(quotas(np.array(counts))):
        np.testing.assert_array_equal(np.bincount(split[codes == stratum]), quota)
    np.testing.assert_array_equal(split, stratified_split(labels_of(codes), seed))


def test_another_seed_gives_another_split(arrays):
    splits = {data.from_arrays(arrays, seed=seed).split.tobytes() for seed in range(5)}
    assert len(splits) == 5


def test_numbers_are_spread_over_their_range(make):
    y = np.random.default_rng(1).normal(size=600)
    dataset = data.from_arrays(make(rows=600) | {"y": y})
    assert np.bincount(dataset.split).tolist() == [420, 90, 90]
    for tenth in np.array_split(np.argsort(y), 10):
        assert np.bincount(dataset.split[tenth]).tolist() == [42, 9, 9]


groupings = hnp.arrays(np.int64, st.integers(30, 150), elements=st.integers(0, 25))


@given(groupings, st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_groups_never_straddle(group, classes, seed):
    codes = np.random.default_rng(seed).integers(-1, classes, len(group))
    codes[0] = 0
    split = grouped_split(labels_of(codes), group, seed)
    for name in np.unique(group):
        assert len(np.unique(split[group == name])) == 1
    only_unlabelled = np.setdiff1d(group, group[codes >= 0])
    assert (split[np.isin(group, only_unlabelled)] == 0).all()
    np.testing.assert_array_equal(split, grouped_split(labels_of(codes), group, seed))


@given(st.integers(100, 300), st.integers(2, 5), st.integers(0, 1000))
def test_many_groups_come_near_the_ratio(groups, classes, seed):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), rng.integers(1, 9, groups))
    codes = rng.integers(0, classes, len(group))
    split = grouped_split(labels_of(codes), group, seed)
    shares = np.bincount(split) / len(split)
    largest = np.bincount(group).max() / len(group)  # which one group can be too many or too few
    assert np.abs(shares - [0.70, 0.15, 0.15]).max() < max(0.01, largest)
    for code in range(classes):
        assert (
            np.abs(np.bincount(split[codes == code]) / (codes == code).sum() - shares).max() < 0.08
        )


@given(st.data())
def test_every_class_is_in_every_split_where_that_is_possible(draw):
    groups = draw.draw(st.integers(3, 7))
    classes = draw.draw(st.integers(1, 3))
    held = draw.draw(hnp.arrays(np.bool_, (groups, classes)))
    held[:, 0] |= ~held.any(axis=1)
    pairs = np.argwhere(held)
    group, codes = pairs[:, 0], pairs[:, 1]
    codes = np.unique(codes, return_inverse=True)[1]

    def serves_all(placed):
        return all(len(set(np.asarray(placed)[group[codes == c]])) == 3 for c in set(codes))

    split = grouped_split(labels_of(codes), group, seed=0)
    placed = [split[group == g][0] for g in range(groups)]
    possible = any(serves_all(way) for way in product(range(3), repeat=groups))
    assert serves_all(placed) == possible


def test_one_group_too_large_for_the_ratio_is_told(make):
    group = np.where(np.arange(60) < 50, 0, np.arange(60))
    dataset = data.from_arrays(make(classes=2) | {"group": group})
    assert np.bincount(dataset.split)[0] >= 50
    assert any("no nearer to 70/15/15 % of the labelled rows" in w for w in dataset.warnings)


def test_classes_that_no_grouping_can_serve_are_named(make):
    # Any two of four groups share a class that is in three groups only, so that all four would
    # have to be in different splits, of which there are three.
    pairs = [
        (code, group) for code, three in enumerate(combinations(range(4), 3)) for group in three
    ]
    y, group = np.array(pairs * 3).T
    with pytest.raises(data.DataError) as caught:
        data.from_arrays(make(rows=len(y)) | {"y": y, "group": group})
    assert "no way was found to keep groups whole" in str(caught.value)


def test_unlabelled_rows_follow_their_group(make):
    arrays = make(rows=90)
    group = np.arange(90) // 3
    y = np.where(np.arange(90) % 3 == 0, np.arange(90) // 3 % 2, -1)
    dataset = data.from_arrays(arrays | {"y": y, "group": group})
    np.testing.assert_array_equal(dataset.split[::3], dataset.split[1::3])
    assert {0, 1, 2} == set(dataset.split[1::3].tolist())


def test_a_given_split_wins_over_groups(arrays):
    split = np.resize([0, 0, 0, 1, 1, 1, 2, 2, 2], 60)
    dataset = data.from_arrays(arrays | {"split": split, "group": np.arange(60) // 3})
    np.testing.assert_array_equal(dataset.split, split)
    np.testing.assert_array_equal(dataset.group, np.arange(60) // 3)


@pytest.mark.parametrize("nobody", ["", "nan", "N/A", -1])
def test_rows_of_no_group_that_would_be_one_are_said(make, nobody):
    group = np.arange(60) // 3
    named = group if nobody == -1 else np.char.add("p", group.astype(str))
    dataset = data.from_arrays(make() | {"group": np.where(np.arange(60) % 7 == 0, nobody, named)})
    (told,) = (text for text in dataset.warnings if "no group" in text)
    assert told.startswith(f"array 'group' holds {nobody!r} (9 rows)")


def test_groups_that_may_be_the_same_are_said(make):
    group = np.char.add(np.where(np.arange(60) % 2, "p", "P"), (np.arange(60) // 3).astype(str))
    told = "\n".join(data.from_arrays(make() | {"group": group}).warnings)
    assert "groups whose names differ only in case" in told
    assert "'P0' (2 rows) and 'p0' (1 row)" in told


def test_an_infinite_group_is_named(make):
    group = np.arange(60.0)
    group[3] = np.inf
    with pytest.raises(data.DataError, match=r"'group' holds infinite numbers in 1 row .*row 3"):
        data.from_arrays(make() | {"group": group})


def test_too_few_groups_are_counted(make):
    with pytest.raises(
        data.DataError, match="of 2 groups in all, each lies in one split"
    ) as caught:
        data.from_arrays(make() | {"group": np.arange(60) % 2})
    assert "--task" not in str(caught.value)


@pytest.mark.parametrize("word", ["eval", "trian", "0.0"])
def test_a_word_that_is_no_split_is_shown(make, word):
    split = np.array(["train", "val", "test"])[np.arange(60) // 20]
    split[7] = word
    with pytest.raises(data.DataError, match=rf"row 7, counting from 0\): '{word}'"):
        data.from_arrays(make() | {"split": split})


@pytest.mark.parametrize("tested", ["true", "false"])
def test_true_and_false_are_no_split_until_it_is_said_which_is_tested(arrays, tested):
    held = np.arange(len(arrays["y"])) % 4 == 3
    marks = ~held if tested == "false" else held
    with pytest.raises(data.DataError) as caught:
        data.from_arrays(arrays | {"fold": marks}, split="fold")
    (text,) = caught.value.findings
    mends = re.findall(r"numpy\.where\(.*?\)", text)
    assert len(mends) == 2, text
    mended = eval(mends[tested == "true"], {"numpy": np, "fold": marks})
    dataset = data.from_arrays(arrays | {"fold": mended}, split="fold")
    np.testing.assert_array_equal(dataset.split == 2, held)
