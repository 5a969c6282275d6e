"""Where the weights of confirmations are kept: in files beside the study store.

A study names a file before it is written, so whatever a process that was killed left behind is
known, and goes with the study, or when that is taken up again.
"""

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any, TypeVar

import fsspec
from filelock import FileLock
from fsspec.implementations.local import LocalFileOpener
from sqlalchemy import exists, select, text
from sqlalchemy.orm import Session

from tuner.errors import EncoderNotKeptError
from tuner.models.outcome import Rule, weights_name
from tuner.models.typing import Array
from tuner.models.weights import WeightsFile, read_weights
from tuner.storage.database import Database, DatabaseError, sqlite_file
from tuner.storage.tables import StudyRow, TrialRow, WeightsRow
from tuner.study.trial import FinishedTrial, KeptWeights

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")

_ADVISORY_LOCK = 0x77_6569_6768_7473  # any number that nobody else takes


class WeightFiles:
    """Files of weights, in a folder of this machine or of a store that all machines reach.

    What is promised: a file is there as a whole or not at all, and what is read was written.

    Args:
        place: Path or URI of the folder.
    """

    def __init__(self, place: str) -> None:
        self.place = place.rstrip("/")

    def load(self, trial: FinishedTrial, modality: str, rule: Rule = "loss") -> dict[str, Array]:
        """Return the weights of one modality of a confirmation that a rule kept.

        Raises:
            EncoderNotKeptError: If they were not kept, are not there, or are damaged.
        """
        if trial.outcome is not None and trial.outcome.weights is not None:  # as 0.1.0 kept them
            return trial.outcome.weights[weights_name(modality, rule)]
        kept = trial.weights or KeptWeights()
        digest = kept.digests.get(weights_name(modality, rule))
        if digest is None:
            raise _not_kept(modality, kept.reason or "its weights were not kept")
        name = f"its weights, {self.place}/{digest},"
        try:
            return self._read(digest)
        except FileNotFoundError:
            reason = (
                f"{name} are not there. If they are in another folder, set TUNER_HOME or "
                "TUNER_CHECKPOINTS to it"
            )
        except Exception as error:  # noqa: BLE001  # every file system has error classes of its own
            reason = f"{name} cannot be read: {_words(error)}"
        raise _not_kept(modality, reason)

    def write(self, file: WeightsFile, study: str) -> None:
        """Write a file, unless it is there; whatever the file system raises is raised.

        Args:
            file: What to write.
            study: For which; no two processes may do so for the same one at a time.
        """
        files, path, part = self._paths(file.digest, study)
        if _size(files, path) == file.size:
            return
        files.makedirs(path.rpartition("/")[0], exist_ok=True)
        try:
            with files.open(part, "wb") as opened:
                for chunk in file.chunks():
                    opened.write(chunk)
                if isinstance(opened, LocalFileOpener):  # others are safe once they are closed
                    opened.flush()
                    os.fsync(opened.fileno())
            files.mv(part, path)
        except BaseException:
            with suppress(Exception):  # what went wrong first is told
                _remove(files, part)
            raise

    def remove(self, digest: str) -> None:
        """Remove a file, if it is there."""
        files, path, _ = self._paths(digest)
        _remove(files, path)

    def remove_part(self, digest: str, study: str) -> None:
        """Remove what is left of a file of which the writing was cut off."""
        files, _, part = self._paths(digest, study)
        _remove(files, part)

    def _read(self, digest: str) -> dict[str, Array]:
        files, path, _ = self._paths(digest)
        content = files.cat_file(path)
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError("the file is damaged, it holds something else than was written")
        return read_weights(content)

    def _paths(self, digest: str, study: str = "") -> tuple[Any, str, str]:
        files, folder = fsspec.url_to_fs(self.place)
        path = f"{folder.rstrip('/')}/{digest}"
        return files, path, f"{path}.{study}.part"


class WeightStore:
    """The weights of the studies in a database.

    What is promised: equal weights are one file; it is there when a trial that names it is written
    down, and while any study does; when none does any more, it goes.

    Args:
        database: Where the studies are.
        place: Path or URI of the folder of the files, of this database alone.
    """

    def __init__(self, database: Database, place: str) -> None:
        self._database, self._files = database, WeightFiles(place)
        path = sqlite_file(database.url)
        self._lock = FileLock(path.with_suffix(".weights.lock")) if path else nullcontext()

    def keep(self, study: str, trial: FinishedTrial) -> FinishedTrial:
        """Write the weights of a trial to files; return it with their names in their place.

        If that cannot be done, the trial says why: it costs the encoder, not the answer.

        Args:
            study: A study whose lease is held.
            trial: A trial of it that is to be recorded.

        Raises:
            DatabaseAwayError: If the database is away for long.
        """
        outcome = trial.outcome
        if outcome is None or outcome.weights is None:
            return trial
        digests, reason = {}, None
        for name, weights in outcome.weights.items():
            try:
                digests[name] = self._write(study, weights)
            except DatabaseError:
                raise
            except Exception as error:  # noqa: BLE001  # as above, and a full disk among them
                reason = f"its weights could not be written to {self._files.place}: {_words(error)}"
                _log.warning("the encoder of %s is lost: %s", name[0].upper(), reason)
        return replace(
            trial,
            outcome=replace(outcome, weights=None),
            weights=KeptWeights(digests=digests, reason=reason),
        )

    def sweep(self, study: str | None = None) -> None:
        """Remove what studies left that are gone, and what no trial of one study names.

        Files that cannot be removed now are tried again the next time.

        Args:
            study: A study whose lease is held, so that nobody is writing weights of it.

        Raises:
            DatabaseAwayError: If the database is away for long.
        """
        try:
            self._exclusively(lambda session: self._sweep(session, study))
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001  # as above
            _log.warning("weights in %s are left for later: %s", self._files.place, _words(error))

    def _write(self, study: str, weights: dict[str, Array]) -> str:
        file = WeightsFile(weights)

        def name(session: Session) -> None:
            if session.get(WeightsRow, (study, file.digest)) is None:
                session.add(WeightsRow(study_id=study, digest=file.digest))

        self._exclusively(name)
        self._files.write(file, study)
        return file.digest

    def _sweep(self, session: Session, study: str | None) -> None:
        litter = _litter(session, study)
        digests = {row.digest for row in litter}
        rows = session.scalars(select(WeightsRow).where(WeightsRow.digest.in_(digests)))
        in_use = {row.digest for row in rows if row not in litter}
        for row in litter:
            self._files.remove_part(row.digest, row.study_id)
            if row.digest not in in_use:
                self._files.remove(row.digest)
            session.delete(row)  # last: what a crash leaves is still known

    def _exclusively(self, work: Callable[[Session], _Answer]) -> _Answer:
        """Do work in a transaction while nobody else names files or removes them.

        It may take long, so it is not the database that is locked.
        """

        def alone(session: Session) -> _Answer:
            if session.get_bind().dialect.name == "postgresql":
                session.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
            return work(session)

        with self._lock:
            return self._database.run(alone)


def _not_kept(modality: str, reason: str) -> EncoderNotKeptError:
    return EncoderNotKeptError(
        f"The encoder of {modality.upper()} is not registered: {reason}. Another --seed trains it "
        "anew"
    )


def _litter(session: Session, study: str | None) -> list[WeightsRow]:
    """Find the names that stand for nothing."""
    is_gone = ~exists().where(StudyRow.id == WeightsRow.study_id)
    gone = list(session.scalars(select(WeightsRow).where(is_gone)))
    if study is None:
        return gone
    kept = select(TrialRow.weights).where(TrialRow.study_id == study, TrialRow.weights.is_not(None))
    named = {d for weights in session.scalars(kept) for d in (weights or {})["digests"].values()}
    ours = session.scalars(select(WeightsRow).where(WeightsRow.study_id == study))
    return gone + [row for row in ours if row.digest not in named and row not in gone]


def _size(files: Any, path: str) -> int | None:
    files.invalidate_cache()  # another process may have written or removed it
    try:
        return int(files.info(path)["size"])
    except FileNotFoundError:
        return None


def _remove(files: Any, path: str) -> None:
    with suppress(FileNotFoundError):
        files.rm_file(path)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
