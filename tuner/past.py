"""What past studies say: predictions of λ-curves, and a user's own studies in the corpus."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.answered import finished_study
from tuner.data import PairedDataset, from_arrays
from tuner.errors import SpecError
from tuner.prediction.answer import Prediction
from tuner.prediction.corpus import Corpus, once, shipped, training_code
from tuner.prediction.earlier import EarlierStudy
from tuner.prediction.prediction import predict as predict_study
from tuner.prediction.prediction import prior_of
from tuner.prediction.record import Record
from tuner.prediction.studies import record_of
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore
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


def expecting(
    study: Study, prior: str, settings: Settings, *, warm_start: str | None = None
) -> Study:
    """Return a study that goes by what past studies lead one to expect of its data.

    Args:
        study: What is asked of which data.
        prior: `none`, `shipped` for what comes with the program, `own` for that with the user's
            own studies, or the path of a file that `tuner corpus export` wrote.
        settings: Where these are kept.
        warm_start: Id of an answered study to begin with: see `EarlierStudy.begins`.

    Raises:
        SpecError: If there is no such file, it is damaged, or says nothing of a study like this; or
            there is no such study with an answer.
    """
    earlier = None if warm_start is None else earlier_study(warm_start, settings)
    return begun(study, prior, settings, earlier)


def begun(study: Study, prior: str, settings: Settings, earlier: EarlierStudy | None) -> Study:
    """Return a study that goes by past studies, and by an earlier one.

    Args:
        study: As of `expecting`.
        prior: As of `expecting`.
        settings: As of `expecting`.
        earlier: The earlier one; None without.

    Raises:
        SpecError: As of `expecting`, or if the earlier one says nothing of such a study.
    """
    if prior != "none":
        corpus, source = _corpus_of(prior, settings)
        expected = study.spec.model_copy(update={"prior": prior_of(study, corpus, source)})
        study = Study.of(expected, study.dataset).within(study.budget)
    return study if earlier is None else earlier.begins(study)


def earlier_study(study: str, settings: Settings) -> EarlierStudy:
    """Return an answered study of encoders, for others to begin with.

    Args:
        study: Its id.
        settings: Where it is kept.

    Raises:
        SpecError: If there is none with an answer.
    """
    with Database(settings.store_url) as database:
        row = StudyStore(database).find(study)
    if row is None or row.result is None or "script" in row.spec:
        raise SpecError(
            f"--warm-start {study}: the store has no answer of such a study; `tuner list` has the "
            "ids of those that are done"
        )
    return EarlierStudy.of(row.id, row.name, row.fingerprint, row.result, row.sketch)


def _corpus_of(prior: str, settings: Settings) -> tuple[Corpus, str]:
    if prior == "shipped":
        return shipped(), prior
    if prior == "own":
        return known(settings), prior
    path = Path(prior)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "there is no such file"
        raise SpecError(
            f"--prior {prior}: {what}; it is none, shipped, own, or a file of tuner corpus export"
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
    if not path.exists():
        return ()
    try:
        return Corpus.read(path).records
    except SpecError as error:
        raise SpecError(
            f"{error}. It holds your own past studies: move it away, and `tuner corpus add` them "
            "again; without it, those that come with the program are there"
        ) from None


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
    Corpus(records=once(records), code=training_code()).write(_place(settings))


def _place(settings: Settings) -> Path:
    """The file: to look must not make the folder."""
    return settings.home.expanduser() / _FILE


def _lock(settings: Settings) -> "AbstractContextManager[Any]":
    from filelock import FileLock

    return FileLock(settings.folder / f"{_FILE}.lock")
