"""Does a prior of past studies find λ* with fewer trainings, and what does a wrong one cost?

Usage: python -m tests.benchmarks.prior [REPEATS [NULLS]]

Every record of the shipped corpus is a truth: the polynomial in u, 0 at u = 0, that fits the mean
gains that its trainings had on test rows for the mean of A and B, by generalised least squares
under the covariance of their errors, of the degree (up to 5) that Akaike's criterion takes. Neither
the vague processes nor the families are polynomials; a line through the measured gains themselves
would count their errors as truth. A study of it sees that curve through noise as large as the
record's own (see `tests.support.noisy_curves`), at the λs that it would lay out and then ask for;
its prior is made of records of other sources alone, synthetic worlds being left out a twelfth at a
time. λ* is good if its true gain is within one standard error of a measured gain (the record's
median over λs) of the best; regret is what it lacks of the best. No training is made.

Wrong priors: `inverted` gives the families the gate's probabilities in the reverse order, `flipped`
is made of the same families with all gains negated. What a wrong prior may do at the worst, a false
`align`, is counted on studies in which no λ gains anything.

One past study that `--warm-start` names, of other data: `like` had the record's own curve, so many
times as high (.6 to 1.4), `opposite` its negative, `another` that of any record. What is known of
it is what a search of six λs would have seen.

Writes `results/prior.csv`, one line a study, and `results/prior.md`, which derives from it.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from tests.benchmarks.prediction import FINE, block_of, focus, kind_of, truth
from tests.support.noisy_curves import DRIFT, OWN, ROWS, SPACE, flat, observe
from tuner.analysis.curves.families import node_weights
from tuner.analysis.curves.model import CurveModel, Expectation
from tuner.analysis.curves.observations import Observations
from tuner.analysis.decision import choose, decide
from tuner.analysis.gains.gain import paired_gain
from tuner.prediction.corpus import Corpus, shipped
from tuner.prediction.earlier import WEIGHT, resembled
from tuner.prediction.model.families import Families
from tuner.prediction.model.forecast import UNITS, Expected, Past
from tuner.prediction.record import Curve, Record
from tuner.search.sampler import Focus, apart, first_strengths, propose_strengths
from tuner.study.prior import CurveFamilies
from tuner.study.result import ModelledScore
from tuner.study.spec import StudySpec
from tuner.typing import Floats

RESULTS = Path(__file__).with_name("results")
SMALLEST = 0.01
SEEDS, CONFIRMING = 4, 16
DESIGNS = (
    ("none", 6),
    ("none", 4),
    ("right", 4),
    ("right", 6),
    ("inverted", 4),
    ("inverted", 6),
    ("flipped", 6),
    ("like", 4),
    ("like", 6),
    ("opposite", 4),
    ("opposite", 6),
    ("another", 4),
    ("another", 6),
)
KINDS = ("right", "inverted", "flipped")
EARLIER = ("like", "opposite", "another")


def priors(past: Past, record: Record) -> dict[str, CurveFamilies]:
    """The prior of a record, and what it would be if the gate or the corpus were wrong."""
    features = record.features.vector("joint")
    told = past.expected(features)
    count = told.shares.size - 1  # the last is for what is like no past one
    order = told.shares[:count].argsort()
    inverted = told.shares.copy()
    inverted[order] = told.shares[order[::-1]]
    wrong = {
        "right": told,
        "inverted": Families(shares=inverted, means=told.means, covariances=told.covariances),
        "flipped": Families(shares=told.shares, means=-told.means, covariances=told.covariances),
    }
    return {kind: of_families(each, past) for kind, each in wrong.items()}


def earlier(record: Record, records: Sequence[Record], seed: int) -> dict[str, CurveFamilies]:
    """What one past study of other data leads one to expect: see the head of this program."""
    rng = np.random.default_rng([seed, 5])
    own, height = truth(record.curves["joint"]), rng.uniform(0.6, 1.4)
    other = records[int(rng.integers(len(records)))]
    curves = {"like": height * own, "opposite": -own, "another": truth(other.curves["joint"])}
    return {kind: seen_before(curves[kind], record, rng) for kind in EARLIER}


def seen_before(gains: Floats, record: Record, rng: np.random.Generator) -> CurveFamilies:
    """What a study of six λs that saw true gains leads one to expect; noise as of a record."""
    u, grid = np.linspace(0, 1, 6), SPACE.to_lambda(np.linspace(0, 1, 49))
    noise = size(record.curves["joint"])
    scores, resampled = observe(rng, u, SEEDS, lambda at: np.interp(at, FINE, gains), noise)
    seen = Observations(lambdas=SPACE.to_lambda(u), scores=scores, resampled=resampled)
    model = CurveModel.fit(seen, SPACE)
    low, high = model.interval(grid)
    curve = ModelledScore(mean=model.mean(grid), low=low, high=high)
    return resembled(grid, curve, SMALLEST).told(None)


def of_families(told: Families, past: Past) -> CurveFamilies:
    draws = told.draws(4000, np.random.default_rng(0)) @ node_weights(UNITS).T
    low, high = Expected.of(draws, SMALLEST).interval
    return CurveFamilies(
        shares=told.shares / told.shares.sum(),
        means=told.means.tolist(),
        covariances=told.covariances.tolist(),
        interval=(SPACE.to_lambda(low), SPACE.to_lambda(high)),
    )


def error(curve: Curve) -> float:
    """Standard error of a measured gain, the median over λs."""
    return float(np.sqrt(np.median(np.diag(curve.measured.noise))))


def size(curve: Curve) -> float:
    """How large its noise is against that of `noisy_curves`: of four seeds at u = .5."""
    own = np.sqrt((2 * OWN**2 + DRIFT**2 / 4) / SEEDS + ROWS**2 * (0.5 + 2 * 0.4**2))
    return error(curve) / float(own)


def searched(
    curve: Curve, trials: int, where: Focus, rng: np.random.Generator, seed: int
) -> Observations:
    """What the search of a study would see: the λs of the first batch, then those asked for."""
    gains = truth(curve)
    spec = StudySpec(trials=max(trials, 4), replicates=SEEDS, seed=seed)
    # All that it could ask for is drawn at once, so that errors are the same however it goes on.
    fine = np.linspace(0, 1, 129)
    scores, resampled = observe(rng, fine, SEEDS, lambda u: np.interp(u, FINE, gains), size(curve))
    tried = first_strengths(4, spec, where)

    def at() -> list[int]:
        return [int(np.abs(fine - SPACE.to_unit(s)).argmin()) for s in tried]

    if trials > len(tried):
        seen = [(s, float(scores[i].mean())) for s, i in zip(tried, at(), strict=True)]
        asked = propose_strengths("gp", seen, [], trials - 4, SPACE, seed=(seed, 1))
        tried += apart(asked, tried, SPACE)
    order = sorted(set(at()))
    return Observations(
        lambdas=SPACE.to_lambda(fine[order]), scores=scores[order], resampled=resampled[:, order]
    )


def studies(corpus: Corpus, repeats: int) -> Iterator[dict]:
    blocks = {r.name: block_of(r, n) for n, r in enumerate(corpus.records)}
    for block in sorted(set(blocks.values())):
        past = Past.of([r for r in corpus.records if blocks[r.name] != block], "joint")
        for record in (r for r in corpus.records if blocks[r.name] == block):
            known = priors(past, record)
            for repeat in range(repeats):
                seed = crc32(f"{record.name} {repeat}".encode())  # the same luck for every prior
                told = known | earlier(record, corpus.records, seed)
                for prior, trials in DESIGNS:
                    yield study(record, told, prior, trials, repeat, seed)


def study(
    record: Record,
    known: dict[str, CurveFamilies],
    prior: str,
    trials: int,
    repeat: int,
    seed: int,
) -> dict:
    curve = record.curves["joint"]
    families = known.get(prior)
    expected = expectation(prior, families)
    if families is None or families.interval is None:
        where = {0.7: (0.4, 1.0), 0.0: (0.0, 0.4), 0.475: (0.2, 0.75)}[focus(record)]
    else:
        low, high = (SPACE.to_unit(end) for end in families.interval)
        where = (low, high) if low < high else None
    seen = searched(curve, trials, where, np.random.default_rng(seed), seed)
    choice = choose(seen, SPACE, seed=seed, expected=expected)
    gains = truth(curve)
    star = SPACE.to_unit(choice.best)
    regret = float(gains.max() - np.interp(star, FINE, gains))
    low, high = (SPACE.to_unit(end) for end in choice.interval)
    best = FINE[gains.argmax()]
    return {
        "record": record.name,
        "source": record.source,
        "prior": prior,
        "trials": trials,
        "repeat": repeat,
        "star": choice.best,
        "good": regret <= error(curve),
        "regret": regret,
        # Of a curve that is 0 all along there is no best λ.
        "covered": float(low - 1 / 128 <= best <= high + 1 / 128) if gains.any() else np.nan,
        "width": high - low,
    }


def expectation(prior: str, families: CurveFamilies | None) -> Expectation | None:
    if families is None:
        return None
    return Expectation(families=families, weight=WEIGHT if prior in EARLIER else 0.5)


def wrong_aligns(corpus: Corpus, kinds: Sequence[str], count: int) -> dict[str, float]:
    """Share of studies without any effect that say `align`, by what their prior is."""
    past = Past.of(corpus.records, "joint")
    hopeful = max(corpus.records, key=lambda r: _hope(past, r))
    known = priors(past, hopeful) | earlier(hopeful, corpus.records, 0) | {"none": None}
    wrong = dict.fromkeys(kinds, 0)
    for number in range(count):
        for kind in kinds:
            rng = np.random.default_rng([number, 2])
            u = np.array([0.0, 1 / 3, 2 / 3, 1.0])
            scores, resampled = observe(rng, u, SEEDS, flat)
            seen = Observations(lambdas=SPACE.to_lambda(u), scores=scores, resampled=resampled)
            expected = expectation(kind, known[kind])
            choice = choose(seen, SPACE, seed=number, expected=expected)
            at = np.array([0.0, SPACE.to_unit(choice.candidate)])
            (baseline, treated), again = observe(rng, at, CONFIRMING, flat)
            by_rows = np.tile(again[:, [1]] - again[:, [0]], CONFIRMING)
            gain = paired_gain(treated, baseline, by_rows)
            wrong[kind] += decide(choice, gain, SMALLEST).verdict == "align"
    return {kind: each / count for kind, each in wrong.items()}


def _hope(past: Past, record: Record) -> float:
    return Expected.of(past.draws(record.features.vector("joint")), SMALLEST).helps


def row(name: str, part: pd.DataFrame) -> str:
    sources = part.groupby(part.source.map(kind_of))
    regret = 100 * sources.regret.mean()
    cells = (
        f"{part.good.mean():.1%}",
        f"{100 * part.regret.mean():.2f}",
        f"{regret.max():.2f} ({regret.idxmax()})",
        f"{sources.good.mean().min():.0%}",
        f"{part.covered.mean():.0%}",
        f"{part.width.mean():.2f}",
    )
    return f"| {name} | {' | '.join(cells)} |"


def page(corpus: Corpus, told: pd.DataFrame, wrong: dict[str, float], nulls: int) -> str:
    headings = ("λ* is good", "regret, points", "of the worst source", "good of the worst source")
    headings += ("interval covers the best λ", "its width in u")
    repeats = told.repeat.nunique()
    return "\n".join(
        [
            "# A prior in the search",
            "",
            "`python -m tests.benchmarks.prior` wrote this page from `prior.csv` beside it: "
            f"{len(corpus.records)} records of the shipped corpus, {repeats} simulated studies of "
            "each with each prior. What is simulated, and what the columns mean, stands at the "
            "head of that program.",
            "",
            f"| prior, λs × seeds | {' | '.join(headings)} |",
            f"|{'---|' * (len(headings) + 1)}",
            *(
                row(
                    f"{prior}, {trials} × {SEEDS}",
                    told[(told.prior == prior) & (told.trials == trials)],
                )
                for prior, trials in DESIGNS
            ),
            "",
            f"Studies without any effect that said `align`, of {nulls} with 4 × {SEEDS} trainings, "
            f"{CONFIRMING} confirming seeds and the prior of the record that expects most: "
            + ", ".join(f"{kind} {share:.1%}" for kind, share in wrong.items())
            + ".",
            "",
        ]
    )


def main() -> None:
    repeats, nulls = (int(n) for n in (sys.argv[1:] + ["4", "400"][len(sys.argv) - 1 :])[:2])
    corpus = shipped()
    with threadpool_limits(1):
        told = pd.DataFrame(studies(corpus, repeats))
        told.to_csv(RESULTS / "prior.csv", index=False, float_format="%.5g")
        wrong = wrong_aligns(corpus, ("none", *KINDS, *EARLIER), nulls)
    (RESULTS / "prior.md").write_text(page(corpus, told, wrong, nulls))


if __name__ == "__main__":
    main()
