"""What an earlier study says of another: where to begin, or what to expect if its data differ."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from tuner.analysis.curves.families import NODES, PAST
from tuner.errors import SpecError
from tuner.prediction.model.families import Families, Measured, resembling
from tuner.prediction.sketch import have_common_rows, sketch
from tuner.study.prior import CurveFamilies, EarlierShare, Prior
from tuner.study.result import ModelledScore
from tuner.study.scoring.scores import TARGETS
from tuner.study.scoring.targets import Target
from tuner.study.spec import WarmStart
from tuner.study.study import Study
from tuner.typing import Floats

WEIGHT = 0.1  # of the curve of one study of other data, whatever else is expected
_FAR = 0.4  # of u, over which errors of a curve are related
_WITHIN = 0.95  # of an interval of a modelled curve


class EarlierStudy(BaseModel):
    """An answered study, as another begins with it.

    Attributes:
        study: Its id.
        name: Its name.
        fingerprint: Of its data.
        interval: λs that its best lies between, with 95 %.
        metric: What it measured; None if its answer does not say.
        strengths: λs of its modelled curves, the first of them 0; empty if there are none.
        curves: These, by target, as its own search saw them: without a prior that it had.
        sketch: Of its rows, by modality: see `tuner.prediction.sketch`. None if it was not kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    name: str
    fingerprint: str
    interval: tuple[float, float]
    metric: str | None = None
    strengths: tuple[float, ...] = ()
    curves: Mapping[str, ModelledScore] = {}
    sketch: Mapping[str, tuple[int, ...]] | None = None

    @classmethod
    def of(
        cls,
        study: str,
        name: str,
        fingerprint: str,
        result: Mapping[str, Any],
        sketch: Mapping[str, Any] | None,
    ) -> Self:
        """Take of an answer, as the store keeps it, what another study needs."""
        model = result.get("curve_model") or {}
        prior = (result.get("prior") or {}).get("targets", {})
        curves = {t: prior[t]["curve"] if t in prior else model[t] for t in TARGETS if t in model}
        return cls.model_validate(
            {
                "study": study,
                "name": name,
                "fingerprint": fingerprint,
                "interval": result["joint"]["interval"],
                "metric": (result.get("metric") or {}).get("name"),
                "strengths": model.get("lambda", ()),
                "curves": curves,
                "sketch": sketch,
            }
        )

    def begins(self, study: Study) -> Study:
        """Return a study that begins with this one.

        Of the same data it says where its best λ is. Of others its curve is one family of those
        that are expected, with a small weight: it moves what is expected of the search, and
        neither where that begins nor the verdict.

        Raises:
            SpecError: If it says nothing of such a study: why.
        """
        if self.fingerprint == study.dataset.fingerprint:
            start = WarmStart(study=self.study, interval=self.interval)
            spec = study.spec.model_copy(update={"warm_start": start})
        else:
            self._check(study)
            spec = study.spec.model_copy(update={"prior": self._joined(study)})
        return Study.of(spec, study.dataset).within(study.budget)

    def _check(self, study: Study) -> None:
        reason = self._unfit(study)
        if reason is not None:
            raise SpecError(
                f"--warm-start {self.study}: that was a study of other data ({self.name}), and "
                f"{reason}: leave it out"
            )

    def _unfit(self, study: Study) -> str | None:
        """Why its curve says nothing of a study; None if it does."""
        metric = study.metric
        if self.metric != metric.name:
            return f"its gains are of {self.metric or 'no known metric'}, not of {metric.name}"
        if metric.direction == "minimize":
            return f"gains of {metric.name} are in the units of its own labels"
        if set(self.curves) != set(TARGETS):
            return "its answer, of an earlier version, has no modelled curve"
        if self.sketch is not None and have_common_rows(self.sketch, sketch(study.dataset)):
            return "it has rows of these, whose scores would choose λ for themselves"
        return None

    def _joined(self, study: Study) -> Prior:
        """A tenth for this one's curve, nine for what was expected of a study without it."""
        before = study.spec.prior
        weight = WEIGHT + (0.0 if before is None else (1 - WEIGHT) * before.weight)
        share = WEIGHT / weight
        targets = {}
        for target in TARGETS:
            family = self._family(study, target)
            told = None if before is None else before.targets[target]
            targets[target] = _with(told, family, share)
        return Prior(
            source="none" if before is None else before.source,
            corpus="" if before is None else before.corpus,
            weight=weight,
            targets=targets,
            earlier=EarlierShare(study=self.study, name=self.name, weight=WEIGHT),
        )

    def _family(self, study: Study, target: Target) -> Families:
        sign, strengths = study.validation.sign(target), np.array(self.strengths)
        return resembled(strengths, self.curves[target], study.smallest_gain(1.0), sign=sign)


def resembled(strengths: Floats, curve: ModelledScore, least: float, *, sign: int = 1) -> Families:
    """The family of curves that are like a modelled one, which is not known beyond its λs.

    Args:
        strengths: λs of the curve, ascending from 0. Shape (n,).
        curve: Scores at these.
        least: The smallest gain worth having.
        sign: -1 if lower scores are better.
    """
    from scipy import special

    units = np.asarray(PAST.to_unit(strengths))
    last = min(1.0, float(units[-1]))
    at = np.append(NODES[last - NODES > 1e-6], last)
    errors = (np.array(curve.high) - curve.low) / (2 * special.ndtri((1 + _WITHIN) / 2))
    error = np.interp(at, units, errors)
    related = np.exp(-(((at[:, None] - at) / _FAR) ** 2) / 2)
    seen = Measured(
        units=at,
        gains=np.interp(at, units, sign * (np.array(curve.mean) - curve.mean[0])),
        noise=error[:, None] * error * related,
    )
    return resembling(seen, least)


def _with(told: CurveFamilies | None, family: Families, share: float) -> CurveFamilies:
    """Families, and another with such a share of all."""
    alone = family.told(None)
    if told is None:
        return alone
    return CurveFamilies(
        shares=(*((1 - share) * each for each in told.shares), share),
        means=told.means + alone.means,
        covariances=told.covariances + alone.covariances,
        interval=told.interval,
    )
