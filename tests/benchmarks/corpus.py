"""Trains what the shipped corpus holds, and puts it together. `make corpus`; hours on one core.

Usage: python -m tests.benchmarks.corpus [--most N] [--assemble | --alike]

Every data set of `corpus_sources` is trained at nine λs with four seeds in the settings of a study
that nobody changed, and scored on test rows by the weights that a study would keep. Each is written
to `.corpus/` as it is finished, whole or not at all, so that a run goes on where it was cut; what
was trained by other code, there or in what is shipped, is trained anew. In the end, or at once with
`--assemble`, what there is becomes `tuner/prediction/corpus.json.gz`, added to what is shipped.
After a change of code that trains as before, `--alike` keeps what is shipped: one of its records is
trained again, and has to come out as it was.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from tests.benchmarks.corpus_sources import Recipe, recipes
from tuner.analysis.curves.noise import row_covariance
from tuner.analysis.curves.observations import Observations
from tuner.analysis.epochs.checkpoints import baseline_scores, best_rules
from tuner.data.information.profile import information_profile
from tuner.data.memory.scratch import written_whole
from tuner.models.compute.device import prepare_process
from tuner.models.config import TrainingConfig
from tuner.models.training.loop import train
from tuner.prediction.corpus import SHIPPED, Corpus, training_code
from tuner.prediction.features import Features, features_of
from tuner.prediction.record import Curve, Record, settings_of
from tuner.prediction.sketch import sketch
from tuner.study.scoring.scores import TARGETS
from tuner.study.spec import StudySpec
from tuner.study.study import Study

FOLDER = Path(".corpus")
UNITS = np.linspace(0, 1, 9)
SEEDS = range(4)
AGAIN = "breast cancer, mean + error, 16 labels"  # a small record


def measured(recipe: Recipe, units: np.ndarray = UNITS, seeds: Sequence[int] = SEEDS) -> dict:
    """Scores on test rows at every λ and seed, and the covariance of mean gains over rows."""
    began = time.process_time()
    study = Study.of(StudySpec(), recipe.make())
    lambdas = study.spec.space.to_lambda(units)
    outcomes = [
        train(study.data, study.training, strength=float(s), seeds=seeds, test=study.test_rows)
        for s in lambdas
    ]
    rules = best_rules(baseline_scores(study.validation, outcomes[0]), sign=1)
    told = [outcome.kept_by(rules).test_predictions for outcome in outcomes]
    targets = {}
    for target in TARGETS:
        seen = Observations(
            lambdas=lambdas,
            scores=np.stack([study.test.scores(each, target) for each in told]),
            resampled=np.stack([study.test.resampled(each, target) for each in told], axis=1),
            grouping=study.test.grouping,
            resolution=study.test.resolution(told[0], target),
        )
        rows = row_covariance(seen, lambdas > 0)
        targets[target] = {"scores": seen.scores.tolist(), "rows": rows.tolist()}
    return {
        "name": recipe.name,
        "code": training_code(),
        "scored": len(study.test.truth),
        "fingerprint": study.dataset.fingerprint,
        "training": study.training.model_dump(),
        "lambdas": lambdas.tolist(),
        "rules": dict(rules),
        "targets": targets,
        "seconds": time.process_time() - began,
    }


def path_of(recipe: Recipe) -> Path:
    return FOLDER / f"{recipe.name.replace(' ', '-').replace(',', '')}.json"


def assembled(held: Mapping[str, Record]) -> Corpus:
    """All records that there are, by the code that is here, in the order of the recipes."""
    console = Console(stderr=True, highlight=False)
    records = []
    for recipe in recipes():
        if is_done(recipe, {}):
            records.append(record_of(recipe, json.loads(path_of(recipe).read_text())))
            console.print(f"{len(records)}: {recipe.name}")
        elif recipe.name in held:
            records.append(held[recipe.name])
    return Corpus(records=tuple(records), code=training_code())


def shipped_records() -> dict[str, Record]:
    """What is shipped, by name, if this code trained it."""
    corpus = Corpus.read(SHIPPED)
    return {} if corpus.is_stale else {record.name: record for record in corpus.records}


def record_of(recipe: Recipe, told: dict) -> Record:
    """What was trained, with what is known before a training."""
    features, rows = known_of(recipe)
    curves = {}
    for target, seen in told["targets"].items():
        scores = np.array(seen["scores"])
        curves[target] = Curve(
            lambdas=np.array(told["lambdas"])[1:],
            gains=scores[1:] - scores[0],
            rows=np.array(seen["rows"]),
            baseline=float(scores[0].mean()),
            scored=told["scored"],
        )
    return Record(
        name=recipe.name,
        source=recipe.source,
        licence=recipe.licence,
        origin=recipe.origin,
        study=None,
        sketch=rows,
        training=settings_of(TrainingConfig(**told["training"]), StudySpec().training),
        features=features,
        curves=curves,
    )


def known_of(recipe: Recipe) -> tuple[Features, dict[str, tuple[int, ...]]]:
    """Features and sketch of a data set; measured once by the code that measures them."""
    path, code = path_of(recipe).with_suffix(".features"), measuring_code()
    if path.exists():
        told = json.loads(path.read_text())
        if told["code"] == code:
            return Features.of(told["features"]), told["sketch"]
    dataset = recipe.make()
    features, rows = features_of(dataset, information_profile(dataset)), sketch(dataset)
    told = {"code": code, "features": features.as_dict(), "sketch": rows}
    with written_whole(path) as aside:
        aside.write_text(json.dumps(told))
    return features, rows


def measuring_code() -> str:
    """Digest of what features and sketches depend on."""
    root = Path("tuner")
    files = [*(root / "data" / "information").rglob("*.py"), *(root / "prediction").glob("*.py")]
    own = [
        path
        for path in files
        if path.name in ("features.py", "sketch.py") or "information" in path.parts
    ]
    content = b"".join(path.read_bytes() for path in sorted(own))
    return hashlib.sha256(content).hexdigest()[:16]


def trains_alike(corpus: Corpus) -> bool:
    """Train one record again at λ = 0 and in the middle: are its means within 3 standard errors?"""
    recipe = next(r for r in recipes() if r.name == AGAIN)
    held = next(r for r in corpus.records if r.name == AGAIN)
    told = measured(recipe, UNITS[[0, 4]], range(held.curves["a"].gains.shape[1]))
    for target in ("a", "b"):
        scores, curve = np.array(told["targets"][target]["scores"]), held.curves[target]
        near = 3 * np.sqrt(curve.measured.noise[3, 3])
        baseline, gain = scores[0].mean(), (scores[1] - scores[0]).mean()
        if max(abs(baseline - curve.baseline), abs(gain - curve.gains[3].mean())) > near:
            return False
    return True


def is_done(recipe: Recipe, held: Mapping[str, Record]) -> bool:
    path = path_of(recipe)
    if path.exists() and json.loads(path.read_text())["code"] == training_code():
        return True
    return recipe.name in held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, help="data sets to train at most, the first of all")
    parser.add_argument("--assemble", action="store_true", help="train no more")
    parser.add_argument("--alike", action="store_true", help="keep what is shipped, if it holds")
    asked = parser.parse_args()
    prepare_process()
    if asked.alike:
        corpus = Corpus.read(SHIPPED)
        if not trains_alike(corpus):
            sys.exit(f"{AGAIN}: this code trains otherwise. Train the corpus anew: make corpus")
        replace(corpus, code=training_code()).write(SHIPPED)
        return
    FOLDER.mkdir(exist_ok=True)
    held = shipped_records()
    for recipe in [] if asked.assemble else recipes()[: asked.most]:
        if is_done(recipe, held):
            continue
        record = measured(recipe)
        with written_whole(path_of(recipe)) as aside:
            aside.write_text(json.dumps(record))
        Console(stderr=True, highlight=False).print(f"{record['seconds']:5.0f} s  {recipe.name}")
    assembled(held).write(SHIPPED)


if __name__ == "__main__":
    main()
