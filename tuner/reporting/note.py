"""The description of a study's run: Markdown that a person reads in MLflow's pages."""

import html

from tuner.data import PairedDataset
from tuner.reporting.wording import (
    TITLES,
    gain,
    gain_interval,
    guess_words,
    headline,
    metric_words,
    needs_words,
    sentence,
    strength,
    strength_interval,
)
from tuner.study.result import StudyResult


def running_note(name: str) -> str:
    """Describe a study that has no answer yet."""
    return f"Study **{plain(name)}**: running. The answer will be written here."


def interrupted_note(name: str) -> str:
    """Describe a study that was stopped before it had an answer."""
    return (
        f"Study **{plain(name)}** was stopped before it had an answer. What it trained is kept: "
        "submit it again, or run the same command again, and it goes on from there."
    )


def experiment_note(dataset: PairedDataset) -> str:
    """Describe the experiment that holds all studies of a data set."""
    return (
        f"Which strength λ of contrastive alignment does **{plain(dataset.name)}** want? "
        f"Modality A is {plain(dataset.a.name)}, B is {plain(dataset.b.name)}: "
        f"{dataset.rows:,} pairs.\n\n"
        "Each run at the top is a study: its description says what to do and why, and its metrics "
        "begin with the answer (`answer/gain`: what both gain on test rows over λ = 0, with the "
        "ends of the interval). The runs below it are trials, one λ each."
    )


def failure_note(name: str, reason: str) -> str:
    """Describe a study that failed."""
    return f"Study **{plain(name)}** failed.\n\n{plain(reason)}"


def result_note(result: StudyResult) -> str:
    """Describe the answer of a study."""
    dataset = result.dataset
    head = (
        f"Study **{plain(result.name)}**: {metric_words(result)} on {plain(dataset.name)}, "
        f"{dataset.rows:,} pairs, {dataset.labelled:,} of them labelled."
    )
    verdicts = [f"- {plain(sentence(target, result))}" for target in TITLES]
    needed = (needs_words(target, result) for target in TITLES)
    verdicts += [f"- {plain(words)}" for words in (*filter(None, needed), *guess_words(result))]
    parts = [
        f"**{plain(headline(result))}**",
        *map(plain, result.warnings),
        head,
        "\n".join(verdicts),
        _table(result),
        *_models(result),
    ]
    parts.append("The whole account is `report.html` among the artifacts of this run.")
    return "\n\n".join(parts)


def load_lines(name: str, version: str, tracking_uri: str | None = None) -> str:
    """Return the code that loads a registered encoder; a URI with a password stays out of it."""
    return (
        _connected(tracking_uri)
        + f"encoder = mlflow.pyfunc.load_model({f'models:/{name}/{version}'!r})\n"
        "answer = encoder.predict(x)  # rows of the data; arrays: embedding, prediction, ...\n"
    )


def fetch_lines(name: str, version: str, tracking_uri: str | None = None) -> str:
    """Return the code that fetches the folder that training code saved, as it was saved."""
    fetched = f"mlflow.artifacts.download_artifacts({f'models:/{name}/{version}'!r})"
    return f"{_connected(tracking_uri)}folder = {fetched}\n"


def _connected(tracking_uri: str | None) -> str:
    known = tracking_uri is not None and "***" not in tracking_uri
    return "import mlflow\n" + (f"mlflow.set_tracking_uri({tracking_uri!r})\n" if known else "")


def _table(result: StudyResult) -> str:
    rows = ["| | verdict | λ* | best λ, 95 % interval | λ tested | gain on test rows |"]
    rows.append("|---|---|---|---|---|---|")
    for target, answer in result.answers.items():
        value, interval = answer.tested
        metric = result.metric.name
        cells = (
            TITLES[target],
            answer.verdict,
            strength(answer.strength),
            strength_interval(answer.interval),
            strength(answer.candidate),
            f"{gain(value, metric)} ({gain_interval(interval, metric)})",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _models(result: StudyResult) -> list[str]:
    models = [m for m in (result.modalities.a.model, result.modalities.b.model) if m is not None]
    reasons = [plain(reason) for reason in result.missing if result.mlflow]
    if not models:
        return reasons
    links = [
        f"[{plain(model.name)} version {model.version}]"
        f"(#/models/{model.name}/versions/{model.version})"
        + (f", alias `{model.alias}`" if model.alias else "")
        for model in models
    ]
    where = None if result.mlflow is None else result.mlflow.tracking_uri
    code = load_lines(models[0].name, models[0].version, where)
    return [
        "Best encoders:\n" + "\n".join(f"- {link}" for link in links),
        f"```python\n{code}```",
        *reasons,
    ]


def plain(text: str) -> str:
    """Keep names and reasons from being read as HTML or as a table."""
    return html.escape(text, quote=False).replace("|", "\\|")
