"""What past studies say: predictions of λ-curves, and a user's own studies in the corpus."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.answered import finished_study
from tuner.data import PairedDataset, from_arrays
from tuner.errors import SpecError
from tuner.prediction.answer import Prediction
from tuner.prediction.corpus import Corpus, shipped, training_code
from tuner.prediction.prediction import predict as predict_study
from tuner.prediction.prediction import prior_of
from tuner.prediction.record import Record
from tuner.prediction.studies import record_of
from tuner.settings import Settings
from tuner.study.spec import spec_from_options
from tuner.study.study import Study, read_dataset

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_FILE = "corpus.json.gz"


def predict(
    data: str | Path | Mapping[str, Any] | PairedDataset,
    *,
    settings: Settings | None = None,
    **options: Any,
) -> Prediction:
    """Predict the λ-curves of a data set from past studies, as the command `tuner predict` does.

    Args:
        data: As of `tuner.run`.
        settings: Where your own studies are kept; None for what the environment says.
        options: As of `tuner.run`.

    Raises:
        pydantic.ValidationError: If an option is unknown or its value is not allowed.
        DataError: If the data cannot be used.
        SpecError: If your own records are damaged.
    """
    settings, spec = settings or Settings(), spec_from_options(options)
    if isinstance(data, Mapping):
        how = spec.data_options | {"name": spec.name or "arrays"}
        data = from_arrays(data, seed=spec.seed, **how)
    if not isinstance(data, PairedDataset):
        data = read_dataset(spec, str(data), max_bytes=settings.max_data)
    return predict_study(Study.of(spec, data), known(settings))


def expecting(study: Study, prior: str, settings: Settings) -> Study:
    """Return a study that goes by what past studies lead one to expect of its data.

    Args:
        study: What is asked of which data.
        prior: `none`, `shipped` for what comes with the program, `own` for that with the user's
            own studies, or the path of a file that `tuner corpus export` wrote.
        settings: Where these are kept.

    Raises:
        SpecError: If there is no such file, it is damaged, or says nothing of a study like this.
    """
    if prior == "none":
        return study
    corpus, source = _corpus_of(prior, settings)
    found = prior_of(study, corpus, source)
    return Study.of(study.spec.model_copy(update={"prior": found}), study.dataset).within(
        study.budget
    )


def _corpus_of(prior: str, settings: Settings) -> tuple[Corpus, str]:
    if prior == "shipped":
        return shipped(), prior
    if prior == "own":
        return known(settings), prior
    path = Path(prior)
    if not path.is_file():
        raise SpecError(
            f"--prior {prior}: there is no such file; it is none, shipped, own, or a file of tuner "
            "corpus export"
        )
    corpus = Corpus.read(path)
    return shipped().joined(corpus.records), path.name


def known(settings: Settings) -> Corpus:
    """Return the shipped corpus and the user's own records.

    Raises:
        SpecError: If these are damaged.
    """
    return shipped().joined(own(settings))


def own(settings: Settings) -> tuple[Record, ...]:
    """Return the user's own records.

    Raises:
        SpecError: If they are damaged.
    """
    path = _place(settings)
    return Corpus.read(path).records if path.is_file() else ()


def add(
    studies: Sequence[str], settings: Settings, *, source: str | None = None
) -> tuple[Record, ...]:
    """Add finished studies to the user's own records, all of them or none; return what was added.

    Args:
        studies: Their ids, or as much of them as `tuner result` takes.
        settings: Where they are kept.
        source: Path or URI of their data; where they were run from if not given.

    Raises:
        SpecError: If there is no such study or no answer, its data are others now, or no
            prediction could use it: why.
        DataError: If the data cannot be read.
    """
    added = [record_of(*finished_study(study, settings, source=source)) for study in studies]
    with _lock(settings):
        _write(settings, (*own(settings), *added))
    return tuple(added)


def forget(studies: Sequence[str], settings: Settings) -> int:
    """Remove studies from the user's own records; return how many are left.

    Raises:
        SpecError: If one is not there: nothing is removed then.
    """
    with _lock(settings):
        there = {record.study: record for record in own(settings)}
        for study in studies:
            if study not in there:
                names = ", ".join(f"{r.study} ({r.name})" for r in there.values()) or "none"
                raise SpecError(f"{study} is not among your own records: {names}")
            del there[study]
        _write(settings, tuple(there.values()))
    return len(there)


def _write(settings: Settings, records: Sequence[Record]) -> None:
    kept = {record.study: record for record in records}  # the later one of a study
    Corpus(records=tuple(kept.values()), code=training_code()).write(_place(settings))


def _place(settings: Settings) -> Path:
    """The file: to look must not make the folder."""
    return settings.home.expanduser() / _FILE


def _lock(settings: Settings) -> "AbstractContextManager[Any]":
    from filelock import FileLock

    return FileLock(settings.folder / f"{_FILE}.lock")
