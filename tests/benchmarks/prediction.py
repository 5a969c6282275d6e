"""Do predictions of λ-curves hold for data sets that are not in the corpus?

Usage: python -m tests.benchmarks.prediction [timings]

With `timings` it says how long the command takes for 10,000 rows, from its start to its end, and
how large the shipped corpus is and how fast it is read, three times each. Without:

Leave one source out: every record of the shipped corpus is predicted from those of other sources.
Truths are measurements of trainings that the prediction has not seen: mean gains on test rows. As
they are noisy, the band is widened by their known errors before it is asked whether it covers them,
and whether alignment helps is told by halves of the seeds: the λ that one half says is best gains
.01 by the other half, and the mean of both ways counts. Which λ is good is counted in two ways:

- by all seeds: its measured gain lies within one standard error, of the difference, of the best
  measured one. That one is best by luck, too.
- crosswise: the seeds of one half say which λ is best, those of the other what the λ in question
  lacks of that one, which is at most one standard error of the difference as of that half; the mean
  of both ways counts. Were errors those of seeds alone, a λ that lacks k standard errors would be
  good in Φ(1 - k), 84 % where it lacks nothing. Both halves are scored on the same rows, whose luck
  remains.

λ = 0 gains nothing for certain. Controls: the base rate of other sources, the one λ that is good
for most of their curves (by the count in question), and the profile's focus (the middle of the
range that it begins in, λ = 0 where it expects harm), taken as if rows always sufficed for a
profile. What the best λ of the true curve has of either count is told by curves through what was
measured, measured anew with the same errors. No strict bound: a λ whose own error is large is good
more easily.

The penalties of trend and gate, and how far the gate is trusted, were chosen among eight settings
by this table, on the first 47 records: it flatters them a little.

Writes `results/prediction.csv`, one line a curve, and `results/prediction.md`, which derives from
it.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import numpy as np
import pandas as pd

from tuner.analysis.curves.families import NODES
from tuner.prediction.corpus import SHIPPED, Corpus, shipped
from tuner.prediction.model.families import Measured
from tuner.prediction.model.forecast import UNITS, Expected, Past
from tuner.prediction.record import Curve, Record
from tuner.study.scoring.scores import TARGETS
from tuner.study.space import LambdaSpace
from tuner.typing import Floats

Lines = Iterator[dict]
SPACE = LambdaSpace()
RESULTS = Path(__file__).with_name("results")
SMALLEST = 0.01
FINE = np.linspace(0, 1, 257)  # of u, at which truths are told
DEGREES = 5
ANEW = 100  # measurements of a true curve
BLOCKS = 12  # of synthetic worlds, each of which is a source
ROWS, OFTEN = 10_000, 3  # of timings
WORST = 12  # curves that are shown as failures


def block_of(record: Record, number: int) -> str:
    """Sources that are left out together: real ones alone, synthetic worlds a twelfth at a time."""
    return f"worlds {number % BLOCKS}" if "world" in record.source else record.source


def focus(record: Record) -> float:
    """The u that the profile begins with, taken as if rows always sufficed for it.

    The middle of its focus; 0 where it expects harm.
    """
    shares = {"R": record.features.common["R"], "U": sum(s["U"] for s in sides(record))}
    known = shares["R"] + shares["U"]
    share = shares["R"] / known if known > 0 else 0.5
    return 0.7 if share >= 0.7 else 0.0 if share <= 0.3 else 0.475


def sides(record: Record) -> tuple[Mapping[str, float], Mapping[str, float]]:
    return record.features.a, record.features.b


def helps(curve: Curve) -> bool:
    halves = [curve.gains[:, half::2].mean(1) for half in (0, 1)]
    crossed = [theirs[own.argmax()] for own, theirs in (halves, halves[::-1])]
    return float(np.mean(crossed)) >= SMALLEST


def lacks_little(measured: Measured, best: int, unit: float) -> bool:
    """Whether a λ lacks one standard error of another at most; 0 is λ = 0, 1 the first above it."""
    units, gains = np.append(0.0, measured.units), np.append(0.0, measured.gains)
    noise = np.pad(measured.noise, ((1, 0), (1, 0)))
    at = np.array([np.interp(unit, units, each) for each in np.eye(units.size)])
    contrast = np.eye(units.size)[best] - at
    return bool(contrast @ gains <= np.sqrt(contrast @ noise @ contrast) + 1e-12)


def best_of(measured: Measured) -> int:
    """Which λ is best by a measurement; 0 is λ = 0."""
    return int(np.append(0.0, measured.gains).argmax())


@dataclass(frozen=True)
class Seen:
    """A curve as all seeds measured it, and as each half of them did."""

    whole: Measured
    halves: tuple[Measured, Measured]

    @classmethod
    def of(cls, curve: Curve) -> "Seen":
        """Errors of a half are those of its number of seeds, and of all rows."""
        whole, seeds = curve.measured, curve.gains.shape[1]
        own = whole.noise - curve.rows  # of the mean of all seeds
        return cls(
            whole,
            tuple(
                Measured(
                    units=whole.units,
                    gains=curve.gains[:, half::2].mean(1),
                    noise=own * seeds / len(range(half, seeds, 2)) + curve.rows,
                )
                for half in (0, 1)
            ),
        )

    def anew(self, gains: Floats, rows: Floats, rng: np.random.Generator) -> "Seen":
        """Measure true gains by halves that have errors of their own seeds, and those of rows."""
        shared = gains + _errors(rows, rng)
        parts = [
            replace(half, gains=shared + _errors(half.noise - rows, rng)) for half in self.halves
        ]
        # Seeds of the halves are weighed by their number: the precision of a mean of seeds.
        first, second = (np.trace(half.noise - rows) for half in self.halves)
        weight = second / (first + second) if first + second > 0 else 0.5
        mean = weight * parts[0].gains + (1 - weight) * parts[1].gains
        return Seen(replace(self.whole, gains=mean), (parts[0], parts[1]))

    def good(self, unit: float) -> float:
        """Whether a λ is, by all seeds."""
        return float(lacks_little(self.whole, best_of(self.whole), unit))

    def crossed(self, unit: float) -> float:
        """Whether it is by each half's measurement of the other's best, the mean of both."""
        ways = (self.halves, self.halves[::-1])
        return float(np.mean([lacks_little(b, best_of(a), unit) for a, b in ways]))


def _errors(covariance: Floats, rng: np.random.Generator) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    errors: Floats = vectors @ (np.sqrt(np.maximum(values, 0)) * rng.normal(size=values.size))
    return errors


COUNTS: dict[str, Callable[[Seen, float], float]] = {"": Seen.good, "crossed_": Seen.crossed}


def truth(curve: Curve) -> Floats:
    """A true curve at `FINE` that may have been what was measured: a polynomial in u, 0 at u = 0.

    Fitted by generalised least squares under the covariance of the errors, of the degree that
    Akaike's criterion takes.
    """
    measured = curve.measured
    count = measured.gains.size
    noise = measured.noise + 1e-9 * np.eye(count)
    white = np.linalg.inv(np.linalg.cholesky(noise))
    fits = [(float(np.sum((white @ measured.gains) ** 2)), np.zeros_like(FINE))]
    for degree in range(1, min(DEGREES, count - 2) + 1):
        powers = np.arange(1, degree + 1)
        design = white @ measured.units[:, None] ** powers
        terms = np.linalg.lstsq(design, white @ measured.gains, rcond=None)[0]
        rest = float(np.sum((white @ measured.gains - design @ terms) ** 2))
        fits.append((rest + 2 * degree, FINE[:, None] ** powers @ terms))
    return min(fits, key=lambda fit: fit[0])[1]


def known_good(curve: Curve, seen: Seen, rng: np.random.Generator) -> dict[str, float]:
    """How often the best λ of a true curve is good, where that is measured anew; by each count."""
    gains = truth(curve)
    means, best = np.interp(seen.whole.units, FINE, gains), float(FINE[gains.argmax()])
    anew = [seen.anew(means, curve.rows, rng) for _ in range(ANEW)]
    return {name: float(np.mean([good(s, best) for s in anew])) for name, good in COUNTS.items()}


def constants(seen: Sequence[Seen]) -> dict[str, float]:
    """The one λ that is good for most curves, in hindsight; by each count."""
    units = np.append(0.0, NODES)
    return {
        name: float(units[np.argmax([np.mean([good(s, u) for s in seen]) for u in units])])
        for name, good in COUNTS.items()
    }


def lines(records: Sequence[Record], blocks: dict[str, str], focuses: dict[str, float]) -> Lines:
    """What is predicted of each record, from those of other blocks."""
    seen = {t: {r.name: Seen.of(r.curves[t]) for r in records} for t in TARGETS}
    for block in sorted(set(blocks.values())):
        held = [record for record in records if blocks[record.name] == block]
        others = [record for record in records if blocks[record.name] != block]
        pasts = {target: Past.of(others, target) for target in ("a", "joint")}
        for target in TARGETS:
            past = pasts["joint" if target == "joint" else "a"]
            ones = constants([seen[target][record.name] for record in others])
            rate = float(np.mean([helps(record.curves[target]) for record in others]))
            for record in held:
                own = seen[target][record.name]
                told = predicted(record, target, past, own.whole)
                known = known_good(record.curves[target], own, _luck(record, target))
                chosen = {"": told.pop("u"), "focus_": focuses[record.name], "zero_": 0.0}
                yield (
                    {"record": record.name, "source": record.source, "target": target}
                    | told
                    | {"rate": rate, "block": block}
                    | counted(own, chosen, ones, known)
                )


def _luck(record: Record, target: str) -> np.random.Generator:
    return np.random.default_rng(crc32(f"{record.name} {target}".encode()))


def counted(
    seen: Seen, chosen: Mapping[str, float], ones: Mapping[str, float], known: Mapping[str, float]
) -> dict:
    """Which λs are good by each count, and what they gain."""
    units, gains = np.append(0.0, seen.whole.units), np.append(0.0, seen.whole.gains)
    told = {
        "constant": float(SPACE.to_lambda(ones[""])),
        "crossed_constant": float(SPACE.to_lambda(ones["crossed_"])),
        "best": float(SPACE.to_lambda(units[gains.argmax()])),
        "most": float(gains.max()),
    }
    for count, good in COUNTS.items():
        told |= {f"{count}{name}good": good(seen, unit) for name, unit in chosen.items()}
        told[f"{count}constant_good"] = good(seen, ones[count])
        told[f"{count}known_good"] = known[count]
    at = {"": chosen[""], "constant_": ones[""], "focus_": chosen["focus_"]}
    return told | {f"{n}gain": float(np.interp(u, units, gains)) for n, u in at.items()}


def predicted(record: Record, target: str, past: Past, measured: Measured) -> dict:
    """What was predicted of a curve, beside what was measured."""
    draws = past.draws(record.features.vector(target))
    expected = Expected.of(draws, SMALLEST)
    at = [int(np.abs(UNITS - u).argmin()) for u in measured.units]
    errors = np.linalg.cholesky(measured.noise + 1e-12 * np.eye(len(at)))
    noise = np.random.default_rng(0).normal(size=(len(draws), len(at))) @ errors.T
    low, high = np.quantile(draws[:, at] + noise, (0.1, 0.9), axis=0)
    return {
        "covered": float(np.mean((low <= measured.gains) & (measured.gains <= high))),
        "width": float(np.mean(expected.high[at] - expected.low[at])),
        "missed": float(np.sqrt(np.mean((measured.gains - expected.mean[at]) ** 2))),
        "size": float(np.sqrt(np.mean(measured.gains**2))),
        "helps": expected.helps,
        "harms": expected.harms,
        "helped": helps(record.curves[target]),
        "u": expected.best,
        "lambda": float(SPACE.to_lambda(expected.best)),
    }


def row(name: str, part: pd.DataFrame) -> str:
    brier, base = ((part[p] - part.helped) ** 2 for p in ("helps", "rate"))
    cells = [
        f"{len(part)}",
        f"{part.covered.mean():.0%}",
        f"{brier.mean():.3f} ({base.mean():.3f})",
        f"{part.helped.mean():.0%}",
        *(f"{100 * part[n].mean():+.2f}" for n in ("gain", "constant_gain", "focus_gain", "most")),
    ]
    return f"| {name} | {' | '.join(cells)} |"


HEADINGS = (
    "curves",
    "80 % band covers",
    "Brier of *helps* (base rate's)",
    "helped",
    "gain at λ, points",
    "at the constant",
    "at the focus",
    "at the best",
)
CHOICES = {
    "": "predicted λ",
    "constant_": "best constant λ",
    "focus_": "focus",
    "zero_": "λ = 0",
    "known_": "the true best λ",
}


def table(groups: Sequence[tuple[str, pd.DataFrame]], title: str) -> list[str]:
    head = [f"| {title} | {' | '.join(HEADINGS)} |", f"|{'---|' * (len(HEADINGS) + 1)}"]
    return [*head, *(row(name, part) for name, part in groups)]


def good_table(groups: Sequence[tuple[str, pd.DataFrame]], title: str) -> list[str]:
    """How often which λ is good, by both counts."""
    rows = []
    for name, part in groups:
        shares = [
            " / ".join(f"{part[f'{count}{choice}good'].mean():.0%}" for count in COUNTS)
            for choice in CHOICES
        ]
        rows.append(f"| {name} | {' | '.join(shares)} |")
    head = [f"| {title} | {' | '.join(CHOICES.values())} |", f"|{'---|' * (len(CHOICES) + 1)}"]
    return [*head, *rows]


def difference(told: pd.DataFrame, one: str, other: str) -> tuple[float, float]:
    """Mean difference of two columns, and its standard error, sources being independent."""
    apart = told[one].astype(float) - told[other].astype(float)
    mean = float(apart.mean())
    sums = (apart - mean).groupby(told.source).sum()
    return mean, float(np.sqrt((sums**2).sum() * sums.size / (sums.size - 1))) / len(told)


def difference_table(told: pd.DataFrame) -> list[str]:
    """What the predicted λ has before the others, in points."""
    rows = []
    for name in ("constant_", "focus_", "zero_"):
        pairs = [(f"{count}good", f"{count}{name}good") for count in COUNTS]
        pairs += [("gain", f"{name}gain")] if f"{name}gain" in told else []
        cells = ["{:+.2f} ± {:.2f}".format(*(100 * x for x in difference(told, *p))) for p in pairs]
        cells += [""] * (len(COUNTS) + 1 - len(cells))
        rows.append(f"| {CHOICES[name]} | {' | '.join(cells)} |")
    return [
        "| predicted λ less | good by all seeds | crosswise | gain |",
        "|---|---|---|---|",
        *rows,
    ]


def kind_of(source: str) -> str:
    return "synthetic worlds" if "world" in source else source


def failures(told: pd.DataFrame) -> list[str]:
    """Where it was wrong by most: sure of what was not so, and λs that were no good."""
    wrong = told.assign(off=(told.helps - told.helped).abs()).sort_values("off", ascending=False)
    return [
        "| record | target | P(helps) | helped | λ begun with | best measured | band covers |",
        f"|{'---|' * 7}",
        *(
            f"| {r.record} | {r.target} | {r.helps:.2f} | {'yes' if r.helped else 'no'} "
            f"| {r['lambda']:.2g} | {r.best:.2g} ({100 * r.most:+.1f}) | {r.covered:.0%} |"
            for _, r in wrong.head(WORST).iterrows()
        ),
    ]


def page(corpus: Corpus, told: pd.DataFrame, hard: pd.DataFrame) -> str:
    kinds = told.source.map(kind_of)
    sources = [(name, told[kinds == name]) for name in sorted(kinds.unique())]
    real = told[kinds != "synthetic worlds"]
    whole = [("all", told), ("real data alone", real), *sources]
    targets = [(target, told[told.target == target]) for target in TARGETS]
    return "\n".join(
        [
            "# Predictions without a training",
            "",
            "`python -m tests.benchmarks.prediction` wrote this page from `prediction.csv` beside "
            f"it: {len(corpus.records)} records, each predicted from those of other sources "
            f"(synthetic worlds: a {BLOCKS}th of them left out at a time). What the columns mean, "
            "and how truths are told, stands at the head of that program.",
            "",
            "These figures flatter the method: its structure (three were tried; the first two had "
            "Brier scores of .269 and .266 against base rates of .293 and .268) and its penalties "
            "(of eight settings) were chosen by this table on the first 30 to 47 records, and the "
            "worlds were drawn with larger effects after the first 29 records showed small ones.",
            "",
            *table(whole, "source held out"),
            "",
            *table(targets, "target"),
            "",
            "How often which λ is good, by all seeds / crosswise:",
            "",
            *good_table(whole, "source held out"),
            "",
            *good_table(targets, "target"),
            "",
            "Differences in points, with their standard errors over sources:",
            "",
            *difference_table(told),
            "",
            "Real data predicted from synthetic worlds alone, all real sources left out together:",
            "",
            *table([("real from worlds", hard)], "held out"),
            "",
            *good_table([("real from worlds", hard)], "held out"),
            "",
            "## Failures",
            "",
            "The curves of which it was surest and wrong:",
            "",
            *failures(told),
            "",
        ]
    )


def timings() -> None:
    """Print what a prediction costs: as its user waits, and as the process is charged."""
    for name, options in {
        "1,000 with a label": ["--labelled", "1000"],
        "all with a label": [],
        "all with a label, of 8 classes": ["--classes", "8"],
    }.items():
        waited, spent = predicting(options)
        print(f"tuner predict, {ROWS:,} rows, {name}: {_ends(waited)} s, {_ends(spent)} s of CPU")
    loading = []
    for _ in range(OFTEN):
        began = time.perf_counter()
        Corpus.read(SHIPPED)
        loading.append(time.perf_counter() - began)
    print(f"corpus: {SHIPPED.stat().st_size:,} bytes, read in {_ends(loading)} s")


def predicting(options: Sequence[str]) -> tuple[list[float], list[float]]:
    """Seconds that predictions of a world take, and those of CPU."""
    waited, spent = [], []
    with TemporaryDirectory() as folder:
        data = str(Path(folder, "world.npz"))
        tuner = [sys.executable, "-m", "tuner"]
        made = [*tuner, "synthesize", data, "--rows", str(ROWS), "--seed", "1", *options]
        subprocess.run(made, check=True, capture_output=True)
        for _ in range(OFTEN):
            began, charged = time.perf_counter(), os.times()
            told = json.loads(subprocess.check_output([*tuner, "predict", data, "--json"]))
            waited.append(time.perf_counter() - began)
            now = os.times()
            spent.append(now.children_user - charged.children_user)
            spent[-1] += now.children_system - charged.children_system
            assert told["targets"], f"nothing was predicted: {told['outside']}"
    return waited, spent


def _ends(seconds: Sequence[float]) -> str:
    return f"{min(seconds):.3g} to {max(seconds):.3g}"


def main() -> None:
    if sys.argv[1:] == ["timings"]:
        timings()
        return
    corpus = shipped()
    focuses = {record.name: focus(record) for record in corpus.records}
    blocks = {record.name: block_of(record, n) for n, record in enumerate(corpus.records)}
    told = pd.DataFrame(lines(corpus.records, blocks, focuses))
    told.to_csv(RESULTS / "prediction.csv", index=False, float_format="%.5g")
    real = {name: "worlds" if "worlds" in block else "real" for name, block in blocks.items()}
    hard = pd.DataFrame(each for each in lines(corpus.records, real, focuses))
    (RESULTS / "prediction.md").write_text(page(corpus, told, hard[hard.block == "real"]))


if __name__ == "__main__":
    main()
