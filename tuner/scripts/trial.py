"""What a training of a study is told, and what it reports by."""

import json
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Never, Self

import numpy as np

from tuner.data.memory.scratch import written_whole
from tuner.data.validation.findings import listing
from tuner.errors import ScriptError
from tuner.scripts.scores import FILE, GROUP, ROW_ID, ROWS, TEST, checked_rows
from tuner.typing import Array

EPOCHS, SAVED = "epochs.jsonl", "saved"
# The rank of a process among all of its training; the first that is there counts.
RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "LOCAL_RANK")
_VARIABLE = "TUNER_TRIAL"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training: λ and a seed in, scores of rows out.

    Of the processes of one training only the first, of rank 0, reports: what others call does
    nothing. Nor does it outside of a study, where `current_trial` gives the trial.

    Attributes:
        strength: λ; at 0 nothing of the alignment is to be trained.
        seed: Of all that is random in the training.
        confirming: Whether test rows are reported, too; never use them otherwise.
        folder: For what the training writes; empty at its start.
        checkpoint: For its own checkpoints: what lies here is there again when the training was
            killed and begins once more.
        share: Of a whole training, that this one is to be: .25 of its epochs, say. Always 1 unless
            the study is asked for halving.
        reports: Whether this process reports.
    """

    strength: float
    seed: int
    confirming: bool = False
    share: float = 1.0
    folder: Path = Path()
    checkpoint: Path = Path()
    reports: bool = True

    def report(
        self,
        *unnamed: Never,
        row_id: Any = None,
        group: Any = None,
        rows: int | None = None,
        **scores: Any,
    ) -> None:
        """Report the scores of the validation rows; of a target that is reported again the last.

        Args:
            unnamed: None: each score has a name.
            row_id: (rows,) numbers or texts that tell which rows these are. Needed where their
                order is not the same in every training.
            group: (rows,) numbers or texts, equal for rows that belong together, as those of one
                patient: answers hold for other groups then.
            rows: How many rows there were, where a score is one number: their mean.
            scores: By target: (rows,) each, numbers or truth values: arrays, lists or tensors.

        Raises:
            ScriptError: If they cannot be used.
        """
        _check_named(unnamed, scores, "report")
        self._report({ROW_ID: row_id, GROUP: group}, rows, scores, "")

    def report_test(
        self,
        *unnamed: Never,
        row_id: Any = None,
        group: Any = None,
        rows: int | None = None,
        **scores: Any,
    ) -> None:
        """Report the scores of the test rows, in confirmations alone: see `report`.

        Raises:
            ScriptError: If they cannot be used, or this is no confirmation.
        """
        if self.reports and not self.confirming:
            raise ScriptError(
                "test rows count in confirmations alone. Call report_test only where "
                "`trial.confirming` is true"
            )
        _check_named(unnamed, scores, "report_test")
        self._report({ROW_ID: row_id, GROUP: group}, rows, scores, TEST)

    def epoch(self, validation_loss: Any = None, **values: Any) -> None:
        """Tell numbers after an epoch, for curves: they decide nothing.

        Raises:
            ScriptError: If one is no number.
        """
        if not self.reports:
            return
        told = values if validation_loss is None else {"validation_loss": validation_loss} | values
        numbers = {name: _number(name, value) for name, value in told.items()}
        with (self.folder / EPOCHS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(numbers) + "\n")

    def save(self, folder: str | Path) -> None:
        """Hand over the folder that the model is saved in.

        Raises:
            ScriptError: If there is no such folder.
        """
        if not self.reports:
            return
        source, place = Path(folder).resolve(), self.folder.resolve() / SAVED
        if not source.is_dir():
            raise ScriptError(f"there is no folder {folder}: save the model in it first")
        if source in (place, *place.parents):
            if source == place:
                return
            raise ScriptError(f"{folder} holds more than the model: save it in {place}")
        shutil.rmtree(place, ignore_errors=True)
        if source.is_relative_to(place.parent):
            source.rename(place)
        else:
            shutil.copytree(source, place)

    def _report(
        self, names: dict[str, Any], rows: int | None, scores: dict[str, Any], end: str
    ) -> None:
        if not self.reports:
            return
        told = scores | {name: of_rows for name, of_rows in names.items() if of_rows is not None}
        arrays = {name + end: _row_array(name, value) for name, value in told.items()}
        if rows is not None:
            arrays |= {name + ROWS + end: np.asarray(rows) for name in scores}
        arrays = _sorted(arrays, end)
        path = self.folder / FILE
        if path.is_file():
            with np.load(path) as file:
                arrays = _merged(dict(file), arrays, list(scores), end)
        with written_whole(path) as aside, zipfile.ZipFile(aside, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)

    @classmethod
    def of_environment(cls) -> Self | None:
        """Return the trial that this process is started for; None outside of a study."""
        text = os.environ.get(_VARIABLE)
        if not text:
            return None
        told = json.loads(text)
        told |= {name: Path(told[name]) for name in ("folder", "checkpoint")}
        return cls(**told, reports=_rank() == 0)

    def to_environment(self) -> dict[str, str]:
        """Return the variables by which a process is told of it."""
        told = {name: str(v) if isinstance(v, Path) else v for name, v in asdict(self).items()}
        del told["reports"]
        return {
            _VARIABLE: json.dumps(told),
            "TUNER_OUT": str(self.folder),
            "TUNER_CHECKPOINT": str(self.checkpoint),
            "TUNER_CONFIRMING": str(int(self.confirming)),
        }


def current_trial(*, strength: float = 0.0, seed: int = 0) -> Trial:
    """Return the trial that this process is started for.

    Outside of a study it has the λ and the seed that are given, and reports to nobody: a script
    that asks for it goes on as before.
    """
    return Trial.of_environment() or Trial(strength=strength, seed=seed, reports=False)


def report(
    *unnamed: Never,
    row_id: Any = None,
    group: Any = None,
    rows: int | None = None,
    **scores: Any,
) -> None:
    """Report the scores of the validation rows: see `Trial.report`; nothing outside of a study."""
    current_trial().report(*unnamed, row_id=row_id, group=group, rows=rows, **scores)


def report_test(
    *unnamed: Never,
    row_id: Any = None,
    group: Any = None,
    rows: int | None = None,
    **scores: Any,
) -> None:
    """Report the scores of the test rows: see `Trial.report_test`; nothing outside of a study."""
    current_trial().report_test(*unnamed, row_id=row_id, group=group, rows=rows, **scores)


def _rank() -> int:
    told = (os.environ[name] for name in RANKS if os.environ.get(name, "").isdigit())
    return int(next(told, "0"))


def as_array(value: Any) -> Array:
    """Return an array of anything like one; of a tensor, wherever it is and of whatever type.

    What is masked out is NaN, and objects that all are texts, or all numbers, are these.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if "bfloat16" in str(value.dtype):
            value = value.float()
    if np.ma.is_masked(value):
        return np.ma.filled(value.astype(float), np.nan)
    array = np.asarray(value)
    items = array.reshape(-1).tolist() if array.dtype.kind == "O" else []
    for kind, types in (("U", str), (float, (int, float))):
        if items and all(isinstance(item, types) for item in items):
            return array.astype(kind)
    return array


def _row_array(name: str, value: Any) -> Array:
    """Return what is reported of rows as an array.

    Raises:
        ScriptError: If it is a list of arrays that differ in shape, or holds what is no number.
    """
    try:
        array = as_array(value)
    except ValueError:
        raise ScriptError(
            f"{name!r} is a list of parts that differ in shape. Join batches to one score per row: "
            "numpy.concatenate(parts), or torch.cat(parts)"
        ) from None
    if array.dtype.kind != "O":
        return array
    kinds = sorted({type(item).__name__ for item in array.reshape(-1).tolist()})
    raise ScriptError(
        f"{name!r} holds objects ({listing(kinds, 3)}). Report one number per row, and none that "
        "is missing, as an array, a list or a tensor; list(…) makes one of a generator"
    )


def _number(name: str, value: Any) -> float:
    try:
        return float(as_array(value))
    except (TypeError, ValueError):
        raise ScriptError(
            f"epoch takes one number for a name, and {name!r} is none: epoch({name}=mean_of_it)"
        ) from None


def _check_named(unnamed: tuple[Any, ...], scores: Mapping[str, Any], call: str) -> None:
    """Do nothing if each score is called as its target.

    Raises:
        ScriptError: If not, with how it is to be written.
    """
    if unnamed and isinstance(unnamed[0], Mapping):
        names = ", ".join(f"{name}=…" for name in list(unnamed[0])[:3])
        raise ScriptError(f"each score is named in the call: write {call}({names})")
    if unnamed:
        raise ScriptError(f"a score has the name of its target: write {call}(acc=correct)")
    if of_test := [name for name in scores if name.endswith(TEST)]:
        name = of_test[0].removesuffix(TEST)
        raise ScriptError(
            f"{of_test[0]!r} ends with {TEST}, which is for test rows: report them in "
            f"confirmations by report_test({name}=…)"
        )


def _sorted(arrays: Mapping[str, Array], end: str) -> dict[str, Array]:
    """Sort what is reported at once by its ids, that other targets of these rows fit to it."""
    rows = checked_rows(arrays, end)
    if rows.row_ids is None:
        return dict(arrays)
    counts = {name + ROWS + end: np.asarray(count) for name, count in rows.counts.items()}
    scores = {name + end: array for name, array in rows.scores.items()}
    groups = {} if rows.groups is None else {GROUP + end: rows.groups}
    return scores | counts | groups | {ROW_ID + end: rows.row_ids}


def _merged(
    earlier: dict[str, Array], arrays: dict[str, Array], targets: Sequence[str], end: str
) -> dict[str, Array]:
    """Put what is reported in the place of what was; the rows of all targets have to be the same.

    Raises:
        ScriptError: If they are not.
    """
    again = {name + suffix + end for name in targets for suffix in ("", ROWS)}
    kept = {name: array for name, array in earlier.items() if name not in again}
    ids, group = ROW_ID + end, GROUP + end
    others = [
        n for n in kept if n not in (ids, group) and n.endswith(TEST) == bool(end) and ROWS not in n
    ]
    if not others:
        kept.pop(ids, None)
        kept.pop(group, None)
    elif not np.array_equal(kept.get(ids, ()), arrays.get(ids, ())):
        raise ScriptError(
            f"{listing(sorted(targets))} and {listing(others)} come with other row_id. Report them "
            "in one call, or each with the ids of the same rows"
        )
    return kept | arrays
