"""How numbers and verdicts are written for people: in MLflow's pages and in the report."""

from tuner.analysis import headline as headlines
from tuner.analysis.gains.forecast import Forecast, TargetForecast
from tuner.analysis.headline import metric_name, tested_words
from tuner.models.evaluation.crossmodal import FUSED, RECALL_NAMES, ZERO_SHOT
from tuner.study.result import InformationSummary, NuisanceSummary, PriorSummary, StudyResult
from tuner.study.scoring.targets import Target

_SHARES = ("accuracy", "balanced_accuracy", "macro_f1", "r2")
SIMILARITIES = {"cka": "CKA", "svcca": "SVCCA", "mutual_knn": "mutual kNN"}
_JOINT_FIRST: tuple[Target, ...] = ("joint", "a", "b")
TITLES: dict[Target, str] = {"a": "Modality A", "b": "Modality B", "joint": "Both (mean)"}


def strength(value: float) -> str:
    """Write a λ: three digits are more than any interval supports."""
    return f"{value:.3g}"


def score(value: float | None, metric: str) -> str:
    """Write a score in the metric's own units."""
    if value is None:
        return "—"
    text = f"{value:.4f}" if metric in _SHARES else f"{value:.4g}"
    return text.replace("-", "\N{MINUS SIGN}")


def gain(value: float | None, metric: str) -> str:
    """Write a difference of scores with its sign."""
    if value is None:
        return "—"
    text = f"{value:+.4f}" if metric in _SHARES else f"{value:+.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def strength_interval(interval: tuple[float, float]) -> str:
    """Write an interval of λ."""
    return f"{strength(interval[0])} to {strength(interval[1])}"


def gain_interval(interval: tuple[float, float] | None, metric: str) -> str:
    """Write the interval of a gain."""
    if interval is None:
        return "—"
    return f"{gain(interval[0], metric)} to {gain(interval[1], metric)}"


def duration(seconds: float) -> str:
    """Write a duration in the unit that suits it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def metric_words(result: StudyResult) -> str:
    """Name the metric, and which way is better."""
    better = "higher" if result.metric.direction == "maximize" else "lower"
    return f"{metric_name(result.metric.name)} ({better} is better)"


ATOM_TITLES = {
    "R": "shared by A and B",
    "U_a": "in A alone",
    "U_b": "in B alone",
    "S": "in both together only",
}


def expectation(information: InformationSummary) -> str:
    """Say what the information profile leads one to expect of alignment."""
    expected = {
        "align": "Most of what is known of the label is shared: alignment is expected to help.",
        "interior": (
            "Part of what is known of the label is shared, part is each modality's own: some "
            "alignment may help, too much is expected to harm."
        ),
        "do not align": (
            "Most of what is known of the label is each modality's own: alignment is expected to "
            "harm."
        ),
        "unknown": "What to expect of alignment is not known: "
        + (information.reason or "nothing of the label is surely known by one modality")
        + ".",
    }[information.regime]
    return f"{expected} {_second_opinion(information)}"


def _second_opinion(information: InformationSummary) -> str:
    gate = information.gate
    if gate.helps is None:
        return "The cross-covariance gate sees no component that both share and the label needs."
    opinion = "help" if gate.helps else "not help"
    other = {
        "either": " Prediction of one modality from the other would learn the label first, too.",
        "align": " Prediction of one modality from the other would learn nuisances first.",
        "predict": " Prediction of one modality from the other would learn the label first.",
        "neither": " So would prediction of one modality from the other.",
        "unknown": "",
    }[information.objective or "unknown"]
    return f"The cross-covariance gate expects it to {opinion}.{other}"


def hindsight(information: InformationSummary, verdict: str) -> str | None:
    """Say whether what was expected came true; None if nothing was."""
    if information.regime == "unknown":
        return None
    if verdict == "undecided":
        return "The search could neither confirm nor refute that."
    expected = "do not align" if information.regime == "do not align" else "align"
    return "That came true." if verdict == expected else "That did not come true."


def prior_words(result: StudyResult) -> tuple[str, ...]:
    """Say what past studies had to say, and whether they were right; nothing without any."""
    prior = result.prior
    if prior is None:
        return ()
    lines = []
    if prior.source != "none":
        lines.append(
            f"Past studies ({prior.source}, digest {prior.corpus}) had a say in where the best λ "
            "is, and none in the verdict."
        )
    if prior.earlier is not None:
        lines.append(
            f"Study {prior.earlier.study} ({prior.earlier.name}), of other data, had a small say "
            "in where the best λ is, and none in the verdict."
        )
    lines += [_told_words(prior, target) for target in TITLES if target in prior.targets]
    return tuple(lines)


def _told_words(prior: PriorSummary, target: str) -> str:
    """What past studies had to say of one target."""
    told, words = prior.targets[target], []
    if prior.source != "none":
        seen = "agrees with them" if prior.is_right(target) else "does not agree with them"
        words.append(
            f"what was seen {seen}: their weight went from {prior.weight:.2f} to "
            f"{told.believed:.2f}."
        )
    if prior.earlier is not None and told.earlier is not None:
        seen = "agrees" if prior.is_earlier_right(target) else "does not agree"
        words.append(
            f"what was seen {seen} with the curve of study {prior.earlier.study}: its weight went "
            f"from {prior.earlier.weight:.2f} to {told.earlier:.2f}."
        )
    them = "it" if prior.source == "none" else "them"
    words.append(
        f"The highest expected gain is at λ = {strength(told.best)} with {them}, at λ = "
        f"{strength(told.alone)} without."
    )
    first, *rest = words
    return " ".join([f"{TITLES[target]}: {first}", *(f"{w[0].upper()}{w[1:]}" for w in rest)])


def guess_words(result: StudyResult) -> tuple[str, ...]:
    """Say which encoders are not better than a guess that never looks at their inputs."""
    guess = result.guess
    if guess is None:
        return ()
    if result.dataset.task == "regression":
        label = f"the median of the training rows, {guess.label:.10g}"
    else:
        label = f"{guess.label!r}, the commonest label"
    name = result.metric.name
    hint = " --metric balanced_accuracy counts every class alike." if name == "accuracy" else ""
    return tuple(
        f"Encoder {side} is {'no' if compared.skill <= 0 else 'not surely'} better than always "
        f"guessing {label}: {metric_name(name)} {score(compared.score, name)} against "
        f"{score(guess.score, name)} on test rows (skill {gain(compared.skill, 'r2')}).{hint}"
        for side, compared in (("A", guess.a), ("B", guess.b))
        if compared is not None
    )


def settings_words(settings: dict[str, float]) -> str:
    """Write training settings down."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in settings.items())


def nuisance_words(nuisance: NuisanceSummary) -> str:
    """Say how training settings were chosen, and which."""
    where = "at λ = 0" if nuisance.mode == "first" else "together with λ"
    tried = len({tuple(trial.settings.items()) for trial in nuisance.trials})
    words = f"Training settings, the best of {tried} tried {where}: "
    words += settings_words(nuisance.settings) or "as given"
    if nuisance.baseline_settings != nuisance.settings:
        words += (
            "; λ = 0 was confirmed with those that are best for it: "
            f"{settings_words(nuisance.baseline_settings) or 'as given'}"
        )
    return words + "."


def headline(result: StudyResult) -> str:
    """Say in a sentence what to do; stored answers of 0.1.0 have none of their own."""
    return result.headline or headlines.headline(result)


def needs_words(target: Target, result: StudyResult) -> str | None:
    """Say what would decide an undecided answer, and how long that takes at this study's pace."""
    answer, cost = result.answers[target], result.cost
    words = headlines.needs_words(answer, result)
    if words is None or answer.needs is None:
        return None
    trainings = answer.needs.trainings
    takes = duration(trainings * cost.wall_seconds / max(cost.trainings, 1))
    return (
        f"{words[0].upper()}{words[1:]} (80 % power; {trainings:,} trainings in all, about {takes} "
        "here)."
    )


def together_rows(result: StudyResult) -> list[tuple[str, str, str, str, str]]:
    """Write what both encoders do together: title, at λ = 0, at λ tested, gain, its interval."""
    told, metric = result.together, result.metric.name
    measured = {} if told is None else told.measured
    return [
        (
            _together_title(name, metric),
            score(scores.baseline, unit),
            score(scores.best, unit),
            gain(scores.gain, unit),
            gain_interval(scores.gain_interval, unit),
        )
        for name, scores in measured.items()
        for unit in ("accuracy" if name in RECALL_NAMES else metric,)
    ]


def _together_title(name: str, metric: str) -> str:
    if name in RECALL_NAMES:
        side, k = RECALL_NAMES[name]
        return f"recall@{k}, {'A → B' if side == 'a' else 'B → A'}"
    if name == FUSED:
        return f"{metric_name(metric)} of a fused head"
    one, other = ("A", "B") if name == ZERO_SHOT["a"] else ("B", "A")
    return f"zero-shot {metric_name(metric)} of {one}, by prototypes of {other}"


def together_words(result: StudyResult) -> str | None:
    """Say how that was measured; None where it was not."""
    told = result.together
    if told is None:
        return None
    zero_shot = (
        "; zero-shot: the class whose labelled training rows are nearest in the mean, as the other "
        "modality embeds them"
        if ZERO_SHOT["a"] in told.measured
        else ""
    )
    return (
        f"At λ = {strength(told.strength)}, on test rows, by the same seeds; no verdict rests on "
        f"it. Recall@k: share of rows whose partner is among the k nearest of {told.gallery:,} "
        f"rows (by chance 1 of {told.gallery:,} at k = 1){zero_shot}; both by the projections "
        "that are aligned, which a registered encoder does not hold. Fused head: what both heads "
        "say, added up."
    )


def kept_words(result: StudyResult) -> str:
    """Say which epoch's weights were tested."""
    named = {"loss": "least validation loss", "accuracy": "best validation accuracy"}
    a, b = (named[result.rules[side]] for side in ("a", "b"))
    if result.modalities.a.checkpoint is None:
        return a
    words = a if a == b else f"{a} of A and of {b} of B"
    return f"{words}, which {'is' if a == b else 'are'} better for λ = 0"


def sentence(target: Target, result: StudyResult) -> str:
    """Say in a sentence what to do with one encoder, or both."""
    answer = result.answers[target]
    what = {"a": "encoder A", "b": "encoder B", "joint": "the two encoders"}[target]
    value, interval = answer.tested
    metric = result.metric.name
    if value is None:
        return f"Undecided about {what}, keep λ = 0: {answer.evidence}."
    gained = f"gain over λ = 0 on test rows {gain(value, metric)} ({_sure(interval, result)})"
    if answer.verdict == "align":
        return f"Align {what} with λ = {strength(answer.strength)}: {gained}."
    if answer.verdict == "do not align":
        advice = f"Do not align {what}, keep λ = 0"
    else:
        advice = f"Undecided about {what}, keep λ = 0"
    return f"{advice}. Tested at λ = {strength(answer.candidate)}: {gained}."


def _sure(interval: tuple[float, float] | None, result: StudyResult) -> str:
    groups = result.dataset.groups
    if interval is None:
        return "no interval: test rows are of too few groups"
    over = "" if groups is None else f"over {groups.test:,} groups "
    return f"95\N{NO-BREAK SPACE}% interval {over}{gain_interval(interval, result.metric.name)}"


def covered(result: StudyResult) -> str:
    """Say what intervals are over."""
    groups = result.dataset.groups
    if groups is None:
        return "cover both seeds and rows"
    return (
        "cover both seeds and groups, because rows of one group are not independent (number of "
        f"groups of validation rows: {groups.validation:,}, of test rows: {groups.test:,})"
    )


def forecast_words(told: Forecast, workers: int | None) -> tuple[str, ...]:
    """Say what a study would take, and what it would be able to show.

    Args:
        told: The forecast.
        workers: Trials at a time; None where a cluster decides.
    """
    seconds = told.trainings * told.training_seconds / (workers or 1)
    at_a_time = "in all" if workers is None else f"with {workers} at a time"
    of = "" if told.groups is None else f" of {told.groups:,} groups"
    with_ = f"{told.seeds:,} confirming seeds and {told.rows:,} {tested_words(told.folds)}{of}"
    return (
        f"The study takes {told.trainings:,} trainings, about {duration(seconds)} of training "
        f"{at_a_time} (one took {duration(told.training_seconds)}).",
        f"With {with_}, in 4 of 5 studies:",
        *(_shown(target, told) for target in _JOINT_FIRST),
    )


def _shown(target: Target, told: Forecast) -> str:
    of = told.targets[target]
    if of.detectable is None:
        return f"{TITLES[target]}: rows are of too few groups to tell"
    words = (
        f"{TITLES[target]}: a gain in {metric_name(told.metric)} of {of.detectable:.2g} or more is "
        "confirmed"
    )
    if of.detectable <= of.smallest_gain:
        return f"{words}; the smallest worth having is {of.smallest_gain:.2g}"
    takes = _takes(of, tested_words(told.folds))
    return f"{words}; for one of {of.smallest_gain:.2g}, the smallest worth having, {takes}"


def _takes(of: TargetForecast, tested: str) -> str:
    if of.seeds is not None:
        return f"it takes {of.seeds:,} seeds (--confirm-replicates {of.seeds})"
    if of.rows is not None:
        return f"no number of seeds suffices, but {of.rows:,} {tested}"
    if of.both is not None:
        return "neither seeds nor rows alone suffice, but {:,} seeds with {:,} rows".format(
            *of.both
        )
    return "no number of seeds and rows suffices"
