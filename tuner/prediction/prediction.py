"""Predicts the λ-curves of a data set from past studies, without a training."""

from collections.abc import Mapping, Sequence

import numpy as np

from tuner.analysis.gains.needs import POWER
from tuner.errors import SpecError
from tuner.prediction.answer import (
    CorpusSummary,
    PastPoint,
    PastStudy,
    Point,
    Prediction,
    Probability,
    Size,
    TargetPrediction,
)
from tuner.prediction.corpus import Corpus
from tuner.prediction.features import Features, features_of
from tuner.prediction.model.forecast import UNITS, Expected, Past, reach
from tuner.prediction.record import Curve, Record, settings_of
from tuner.prediction.sketch import have_common_rows, sketch
from tuner.study.prior import CurveFamilies, Prior
from tuner.study.scoring.scores import TARGETS
from tuner.study.scoring.targets import Target
from tuner.study.space import LambdaSpace
from tuner.study.study import Study
from tuner.typing import Floats, Mask

FEWEST = 20  # records that a prediction is made from
_MARGIN = 0.25  # of a feature's range, beyond which nothing is said
_ALIKE = 3
_MOST_SEEDS = 1000
_SPACE = LambdaSpace()  # of the corpus


def predict(study: Study, corpus: Corpus) -> Prediction:
    """Predict the λ-curve of each target of a study, in seconds and without a training.

    Records of the study's own rows, and all of the same source, have no part in it.

    Args:
        study: What would be asked of which data.
        corpus: Past studies.
    """
    from threadpoolctl import threadpool_limits

    used, left_out = usable(study, corpus)
    features, outside = _placed(study, corpus, used)
    targets: dict[Target, TargetPrediction] = {}
    alike: list[PastStudy] = []
    if features is not None:
        with threadpool_limits(1):  # matrices are small: threads would wait for each other
            past = _pasts(used)
            alike = _alike(past["joint"], features, used)
            targets = {t: _of_target(study, past[t], features, t, used) for t in TARGETS}
    return Prediction(
        name=study.name,
        fingerprint=study.dataset.fingerprint,
        metric=study.metric.name,
        smallest_gain=study.smallest_gain(1.0),
        outside=outside,
        targets=targets,
        alike=alike,
        corpus=CorpusSummary(
            digest=corpus.digest,
            records=len(corpus.records),
            own=sum(record.study is not None for record in corpus.records),
            used=len(used),
            sources=len({record.source for record in used}),
            left_out=left_out,
            stale=corpus.is_stale,
        ),
    )


def prior_of(study: Study, corpus: Corpus, source: str) -> Prior:
    """Return what past studies lead one to expect of a study, for its search to go by.

    Args:
        study: What is asked of which data.
        corpus: Past studies.
        source: What these are called.

    Raises:
        SpecError: If no prediction can be made of it: what is outside of the corpus.
    """
    from threadpoolctl import threadpool_limits

    used, _ = usable(study, corpus)
    features, outside = _placed(study, corpus, used)
    if features is None:
        lines = "\n".join(f"  {line}" for line in outside)
        raise SpecError(
            f"--prior {source}: past studies say nothing of a study like this, so leave it out:\n"
            f"{lines}"
        )
    with threadpool_limits(1):
        past = _pasts(used)
        targets = {t: _families(study, past[t], features, t) for t in TARGETS}
    return Prior(source=source, corpus=corpus.digest, targets=targets)


def _families(study: Study, past: Past, features: Features, target: Target) -> CurveFamilies:
    told = features.vector(target)
    mixture = past.expected(told)
    shown = _shown(study)
    draws = past.draws(told, seed=study.spec.seed)[:, shown]
    low, high = Expected.of(draws, study.smallest_gain(1.0)).interval
    return mixture.told((_SPACE.to_lambda(low), _SPACE.to_lambda(high)))


def _shown(study: Study) -> Mask:
    """Which of `UNITS` the study may try."""
    return np.asarray(_SPACE.to_unit(study.spec.max_lambda) + 1e-9 >= UNITS)


def _placed(
    study: Study, corpus: Corpus, used: Sequence[Record]
) -> tuple[Features | None, list[str]]:
    """What is known of the data, unless something lies outside of the corpus: what."""
    outside = _unknown_kind(study, corpus, used)
    if outside:
        return None, outside
    features = features_of(study.dataset, study.profile, seed=study.spec.seed)
    outside = features.outside(*reach(used), _MARGIN)
    return (None, outside) if outside else (features, [])


def _pasts(used: Sequence[Record]) -> dict[Target, Past]:
    """What past curves were like, by target."""
    of_one = Past.of(used, "a")
    return {"a": of_one, "b": of_one, "joint": Past.of(used, "joint")}


def usable(study: Study, corpus: Corpus) -> tuple[list[Record], int]:
    """Return records trained as the study would be, of other rows, and how many have its rows."""
    own = sketch(study.dataset)
    sources = {r.source for r in corpus.records if have_common_rows(own, r.sketch)}
    others = [record for record in corpus.records if record.source not in sources]
    training = settings_of(study.training, study.spec.training)
    fitting = [record for record in others if record.training == training]
    return fitting, len(corpus.records) - len(others)


def _unknown_kind(study: Study, corpus: Corpus, used: Sequence[Record]) -> list[str]:
    """What of a study no record has, one line each."""
    lines = []
    if study.dataset.task != "classification":
        lines.append(f"task: {study.dataset.task}, where the corpus has classification alone")
    elif study.metric.name != "accuracy":
        lines.append(f"--metric {study.metric.name}, where the corpus has accuracy alone")
    if study.dataset.group is not None:
        lines.append("rows in groups or copies, where those of the corpus are independent")
    if study.spec.max_lambda > _SPACE.maximum:
        lines.append(
            f"--max-lambda {study.spec.max_lambda:g}, where the corpus reaches to "
            f"{_SPACE.maximum:g}"
        )
    elif not _shown(study)[1:].any():
        lines.append(
            f"--max-lambda {study.spec.max_lambda:g}, where the corpus begins at "
            f"{_SPACE.to_lambda(float(UNITS[1])):.2g}"
        )
    if len(used) < FEWEST:
        lines += _other_settings(study, corpus, len(used))
    return lines


def _other_settings(study: Study, corpus: Corpus, used: int) -> list[str]:
    """Which settings of training the records do not have, against those that have most alike."""
    training = study.training.model_dump() | {"epochs": study.spec.training.epochs}
    differences: list[dict[str, object]] = []
    defaults = {n: field.default for n, field in type(study.training).model_fields.items()}
    for record in corpus.records:
        theirs = defaults | dict(record.training)
        differences.append({n: theirs[n] for n, own in training.items() if theirs[n] != own})
    least = min(differences, key=len, default={})
    if not least:
        return [
            f"{used} past studies are of other rows and trained like this, and {FEWEST} are needed"
        ]
    return [
        f"--{name.replace('_', '-')} {training[name]!r}, where past studies have {value}; "
        f"{used} of other rows are like this, and {FEWEST} are needed"
        for name, value in least.items()
    ]


def _of_target(
    study: Study, past: Past, features: Features, target: Target, used: Sequence[Record]
) -> TargetPrediction:
    shown = _shown(study)
    smallest = study.smallest_gain(1.0)
    draws = past.draws(features.vector(target), seed=study.spec.seed)
    expected = Expected.of(draws[:, shown], smallest)
    lambdas = _SPACE.to_lambda(UNITS[shown])
    best = int(expected.mean.argmax())
    gain, strength = float(expected.mean[best]), float(lambdas[best])
    names = past.alike(features.vector(target), 2 * _ALIKE)
    sides = TARGETS[:2] if target != "joint" else TARGETS[2:]
    curves = [r.curves[side] for name in names for r in used if r.name == name for side in sides]
    return TargetPrediction(
        strength=strength,
        interval=(_SPACE.to_lambda(expected.interval[0]), _SPACE.to_lambda(expected.interval[1])),
        probability=Probability(
            helps=expected.helps, harms=expected.harms, neither=expected.neither
        ),
        curve=[
            Point(strength=float(s), mean=float(m), low=float(low), high=float(high))
            for s, m, low, high in zip(
                lambdas, expected.mean, expected.low, expected.high, strict=True
            )
        ],
        size=size(
            curves,
            gain,
            smallest,
            seeds=len(study.spec.seeds("confirm")),
            rows=len(study.test.truth),
        ),
    )


def size(curves: Sequence[Curve], gain: float, smallest: float, *, seeds: int, rows: int) -> Size:
    """How much is expected to decide, if gains vary over seeds and rows as in past studies.

    A gain is shown if half of the 95 % interval and z.₈ standard errors fit below it, and a
    smallest one is ruled out if they fit between the two: see `tuner.analysis.gains.needs`.

    Args:
        curves: Of past studies that are alike.
        gain: What is expected.
        smallest: The smallest gain worth having.
        seeds: Confirming seeds that the study has.
        rows: Labelled test rows that it has.
    """
    distance = gain if gain >= smallest / 2 else smallest - gain
    of_seeds, of_rows = _variances(curves)

    def decide(seeds: Floats, rows: Floats) -> np.ndarray:
        from scipy import special

        reached = special.stdtrit(seeds - 1, 0.975) + POWER
        return np.asarray(reached * np.sqrt(of_seeds / seeds + of_rows / rows) <= distance)

    counts = np.arange(2.0, _MOST_SEEDS + 1)
    many = np.unique(np.geomspace(20, 1e6, 400).round())
    return Size(
        seeds=_first(counts, decide(counts, np.full(counts.size, float(rows)))),
        rows=_first(many, decide(np.full(many.size, float(seeds)), many)),
    )


def _variances(curves: Sequence[Curve]) -> tuple[float, float]:
    """Variance of a gain over seeds, and over rows, of one each; the median over λs and studies."""
    seeds = [np.median(curve.gains.var(axis=1, ddof=1)) for curve in curves]
    rows = [np.median(np.diag(curve.rows)) * curve.scored for curve in curves]
    return float(np.median(seeds)), float(np.median(rows))


def _first(counts: Floats, decide: np.ndarray) -> int | None:
    return int(counts[decide.argmax()]) if decide.any() else None


def _alike(past: Past, features: Features, used: Sequence[Record]) -> list[PastStudy]:
    by_name: Mapping[str, Record] = {record.name: record for record in used}
    names = past.alike(features.vector("joint"), _ALIKE)
    return [
        PastStudy(
            name=name,
            source=by_name[name].source,
            study=by_name[name].study,
            curves={target: _past_points(by_name[name].curves[target]) for target in TARGETS},
        )
        for name in names
    ]


def _past_points(curve: Curve) -> list[PastPoint]:
    measured = curve.measured
    errors = np.sqrt(np.diag(measured.noise))
    return [
        PastPoint(strength=float(s), gain=float(gain), sem=float(error))
        for s, gain, error in zip(curve.lambdas, measured.gains, errors, strict=True)
    ]
