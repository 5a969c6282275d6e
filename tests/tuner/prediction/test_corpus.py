"""The corpus as a file: what is written is read, damage is named, what is shipped is fit."""

import gzip
import json
import time

import numpy as np
import pytest

from tests.benchmarks.corpus import path_of, trains_alike
from tests.benchmarks.corpus_sources import recipes
from tuner.errors import SpecError
from tuner.prediction.corpus import SHIPPED, Corpus, shipped
from tuner.study.space import LambdaSpace


def test_what_is_written_is_read(tmp_path):
    corpus = shipped()
    for name in ("one", "other"):
        corpus.write(tmp_path / name)
    again = Corpus.read(tmp_path / "one")
    assert again.digest == corpus.digest
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    first, same = corpus.records[0], again.records[0]
    assert same.features == first.features
    assert same.curves["a"].gains.tolist() == first.curves["a"].gains.tolist()


def test_what_is_shipped_is_small_and_says_where_it_comes_from():
    assert SHIPPED.stat().st_size < 3_000_000
    seconds = []
    for _ in range(5):
        began = time.process_time()
        Corpus.read(SHIPPED)
        seconds.append(time.process_time() - began)
    assert min(seconds) < 0.2
    makers = {recipe.name: recipe for recipe in recipes()}
    for record in shipped().records:
        recipe = makers[record.name]
        told = (record.source, record.licence, record.origin)
        assert told == (recipe.source, recipe.licence, recipe.origin)
        assert set(record.curves) == {"a", "b", "joint"}
        units = LambdaSpace().to_unit(record.curves["a"].lambdas)
        assert units == pytest.approx(np.linspace(0, 1, 9)[1:], abs=1e-4)


def test_the_mean_of_both_is_the_mean_of_both():
    for record in shipped().records:
        a, b, joint = (record.curves[target].gains for target in ("a", "b", "joint"))
        assert joint == pytest.approx((a + b) / 2, abs=2e-5)


@pytest.mark.slow
def test_the_training_code_still_gives_what_the_corpus_holds():
    """One study is trained again: other code may, but so far does not, change its curves."""
    assert trains_alike(shipped())
    assert not shipped().is_stale, "run python -m tests.benchmarks.corpus --alike, or make corpus"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda told: told["records"][2]["curves"]["b"].pop("gains"), "record 3 is damaged"),
        (lambda told: told["records"][1]["curves"]["a"]["lambdas"].pop(), "as many λs as there"),
        (
            lambda told: told["records"][0]["curves"]["a"]["gains"][0].__setitem__(0, np.inf),
            "finite",
        ),
        (lambda told: told.update(format="another"), "its format is 'another'"),
        (lambda told: told.pop("records"), "no corpus can be read"),
    ],
)
def test_damage_is_named(tmp_path, damage, words):
    told = json.loads(gzip.decompress(SHIPPED.read_bytes()))
    damage(told)
    path = tmp_path / "mine.json.gz"
    path.write_bytes(gzip.compress(json.dumps(told).encode()))
    with pytest.raises(SpecError, match=words) as refused:
        Corpus.read(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b", b"no corpus", gzip.compress(b"[1]", mtime=0)]
)
def test_what_is_no_corpus_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(SpecError, match="no corpus can be read"):
        Corpus.read(tmp_path / "x")


def test_recipes_have_names_and_files_of_their_own():
    names = [recipe.name for recipe in recipes()]
    assert len(set(names)) == len(names)
    assert len({path_of(recipe) for recipe in recipes()}) == len(names)
