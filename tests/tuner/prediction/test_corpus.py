"""The corpus as a file: what is written is read, damage is named, what is shipped is fit."""

import gzip
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.benchmarks.corpus import path_of, trains_alike
from tests.benchmarks.corpus_sources import recipes
from tests.support.servers import until
from tuner.errors import SpecError
from tuner.models.config import TrainingConfig
from tuner.prediction.corpus import SHIPPED, Corpus, shipped
from tuner.prediction.model.forecast import reach
from tuner.prediction.record import settings_of
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
        (lambda told: told["records"][1]["curves"].pop("joint"), "record 2 .* lacks 'joint'"),
        (lambda told: told["records"][1]["curves"]["a"]["lambdas"].__setitem__(0, -1), "above 0"),
        (lambda told: told["records"][1]["curves"]["a"].update(scored=0), "number of rows"),
        (
            lambda told: told["records"][1]["curves"]["a"]["gains"][3].__setitem__(0, 12.0),
            "gains of accuracy",
        ),
        (
            lambda told: told["records"][1]["curves"]["a"].update(
                gains=[each[:1] for each in told["records"][1]["curves"]["a"]["gains"]]
            ),
            "each of two seeds",
        ),
        (
            lambda told: told["records"][1]["curves"]["b"]["rows"][1].__setitem__(1, -1e-3),
            "has to be a covariance",
        ),
        (lambda told: told["records"][1]["features"]["common"].pop("rows"), "version: rows"),
        (lambda told: told["records"][1]["features"]["b"].update(age=1), "version: age"),
        (
            lambda told: told["records"][1]["features"]["a"].update(width=np.nan),
            "features of a .* finite",
        ),
        (lambda told: told["records"][1].pop("sketch"), "lacks 'sketch'"),
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


WHOLE = gzip.compress(b"[1]", mtime=0)


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b", b"no corpus", WHOLE, WHOLE[:10] + b"\x07" + WHOLE[11:]]
)
def test_what_is_no_corpus_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(SpecError, match="no corpus can be read"):
        Corpus.read(tmp_path / "x")


def test_a_study_counts_once_however_often_it_is_told():
    again = shipped().joined(shipped().records[:3])
    assert again.digest == shipped().digest


def test_recipes_have_names_and_files_of_their_own():
    names = [recipe.name for recipe in recipes()]
    assert len(set(names)) == len(names)
    assert len({path_of(recipe) for recipe in recipes()}) == len(names)


MADE = """
import sys
from functools import partial
from pathlib import Path

from tests.benchmarks import corpus
from tests.benchmarks.corpus_sources import Recipe
from tests.support import worlds

def recipe(n):
    make = partial(worlds.null, n, rows=120)
    return Recipe(name=f"null {n}", source=f"s{n}", licence="own", origin="here", make=make)

folder = Path(sys.argv.pop())
corpus.recipes = lambda: [recipe(n) for n in range(2)]
corpus.measured = partial(corpus.measured, units=corpus.UNITS[[0, 4, 8]], seeds=range(2))
corpus.FOLDER, corpus.SHIPPED = folder / "trained", folder / "corpus.json.gz"
corpus.main()
"""


@pytest.mark.system
def test_a_corpus_that_is_killed_goes_on_and_is_what_it_would_have_been(tmp_path):
    """Two small data sets; kill -9 while the second is trained."""
    homes, names = [tmp_path / name for name in ("undisturbed", "killed")], ["null 0", "null 1"]
    for home in homes:
        home.mkdir()
        Corpus(records=(), code="of other code").write(home / "corpus.json.gz")
    assert make_corpus(homes[0]) == names
    first = homes[1] / "trained" / "null-0.json"
    assert make_corpus(homes[1], kill_after=first) == names[:1]
    assert Corpus.read(homes[1] / "corpus.json.gz").records == ()
    assert list(homes[1].glob("trained/*.json")) == [first]
    written = first.stat().st_mtime_ns
    assert make_corpus(homes[1]) == names[1:]  # nothing is trained twice
    assert first.stat().st_mtime_ns == written
    undisturbed, killed = (home.joinpath("corpus.json.gz").read_bytes() for home in homes)
    assert undisturbed == killed
    assert [record.name for record in Corpus.read(homes[1] / "corpus.json.gz").records] == names


def make_corpus(folder, kill_after=None):
    """Make it, or kill who does soon after a file is there; what it said that it trained."""
    log = folder / "log"
    with log.open("w") as said:
        process = subprocess.Popen([sys.executable, "-c", MADE, str(folder)], stderr=said)
        if kill_after is not None:
            until(kill_after.exists, 120, fails_if=process.poll)
            time.sleep(0.2)  # into the next
            process.kill()
        assert process.wait(timeout=120) == (0 if kill_after is None else -signal.SIGKILL)
    lines = log.read_text().splitlines()
    return [line.split(" s  ")[1] for line in lines if " s  " in line]


@pytest.mark.parametrize("classes", range(2, 9))
def test_ten_thousand_labelled_rows_lie_within_what_is_shipped(classes):
    _, highest = reach(shipped().records)
    assert highest.common["rows"] >= np.log(7000)  # those of them that are trained on
    assert highest.common["labels"] >= np.log(7000 / classes)
    assert highest.common["classes"] >= np.log(classes)


def test_epochs_that_rows_leave_are_no_setting_and_those_asked_for_are():
    rows = 30_000
    asked = TrainingConfig()
    left = asked.model_copy(update={"epochs": asked.epochs_of(rows)})
    assert left.epochs < asked.epochs
    assert settings_of(left, asked) == {}
    fewer = TrainingConfig(epochs=7)
    assert settings_of(fewer, fewer) == {"epochs": 7}
