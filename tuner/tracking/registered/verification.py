"""Whether an exported network predicts, in a process of its own, what was measured in training."""

import json
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuner.data import PairedDataset, Split
from tuner.errors import EncoderNotKeptError
from tuner.execution.helper import HelperProcess, ProcessDiedError
from tuner.models.outcome import TrainingOutcome

_ROWS = 1000  # test rows that are tried at most
_ALONE = 3  # of these, tried one at a time, too
_TIE = 1e-3  # classes whose probabilities are this close may change places
_TOLERANCE = 1e-4  # of values, in units of their spread

# Needs torch alone: what is asked is whether the file stands for itself. What a network prints goes
# to nobody, so that the answers are all that is heard.
_PREDICT = f"""
import contextlib, json, os, sys, traceback

with contextlib.suppress(Exception):  # told when it is needed
    import torch

def predict(network, rows, out):
    import numpy as np
    import torch

    torch.set_num_threads(1)
    network = torch.export.load(network).module()
    rows = torch.from_numpy(np.load(rows))
    with torch.inference_mode():
        together = network(rows)[1].numpy()
        alone = [network(rows[row : row + 1])[1].numpy() for row in range(min({_ALONE}, len(rows)))]
    np.savez(out, together=together, alone=np.concatenate(alone))

heard = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    fault = None
    try:
        predict(*json.loads(line))
    except Exception as error:
        fault = traceback.format_exception_only(error)[-1].strip()
    print(json.dumps(fault), file=heard, flush=True)
"""


class NetworkProcess(HelperProcess):
    """A process that sees torch alone and answers by exported networks: see `HelperProcess`."""

    def __init__(self) -> None:
        super().__init__(("-I", "-c", _PREDICT))

    def answers(
        self, network: Path, rows: NDArray[np.floating]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return a network's answers to rows together, and to the first of them one at a time.

        Raises:
            NetworkFailedError: If it cannot be loaded or run.
        """
        with tempfile.TemporaryDirectory(prefix="tuner-verify-") as scratch:
            given, out = Path(scratch) / "rows.npy", Path(scratch) / "answers.npz"
            np.save(given, rows, allow_pickle=False)
            question = json.dumps([str(network), str(given), str(out)]) + "\n"
            try:
                fault = self.ask(question.encode())
            except ProcessDiedError as error:
                raise NetworkFailedError(str(error)) from error
            if fault is not None:
                raise NetworkFailedError(fault)
            with np.load(out, allow_pickle=False) as answers:
                return answers["together"], answers["alone"]


class NetworkFailedError(Exception):
    """An exported network could not be loaded or run; the text is one line."""


def verify_network(
    network: Path,
    dataset: PairedDataset,
    outcome: TrainingOutcome,
    modality: str,
    process: NetworkProcess,
) -> None:
    """Compare an exported network's answers to raw test rows with those of the training.

    Those were computed in float32 whatever the precision of training, so rounding is all that may
    differ.

    Args:
        network: The exported program, a `.pt2` file.
        dataset: What was studied.
        outcome: The training of which the best replicate was exported.
        modality: `a` or `b`.
        process: Where it answers.

    Raises:
        EncoderNotKeptError: If it cannot be loaded or run, or answers otherwise.
    """
    index = dataset.indices(Split.TEST, labelled_only=True)[:_ROWS]
    try:
        together, alone = process.answers(network, raw_rows(dataset, modality, index))
    except NetworkFailedError as error:
        raise EncoderNotKeptError(
            f"The encoder of {modality.upper()} is not registered: exported, it cannot be "
            f"used in another process: {error}"
        ) from error
    measured = (outcome.test_predictions or {})[modality][outcome.best_replicate(modality)]
    different = _differs(together, measured[: len(index)], classifies=dataset.classes is not None)
    if different.any():
        raise EncoderNotKeptError(
            f"The encoder of {modality.upper()} is not registered: exported, it answers "
            f"{int(different.sum())} of {len(index)} test rows otherwise than in training. "
            "Something that it depends on is not kept with it: the other rows of its batch, "
            "randomness that stays on in evaluation, or numbers outside of parameters and buffers"
        )
    spread = np.ptp(together) or 1.0
    if np.any(np.abs(alone - together[: len(alone)]) > 10 * _TOLERANCE * spread):
        raise EncoderNotKeptError(
            f"The encoder of {modality.upper()} is not registered: it answers a row alone "
            "otherwise than the same row among others, so its answers depend on what else is asked"
        )


def raw_rows(
    dataset: PairedDataset, modality: str, index: NDArray[np.int64]
) -> NDArray[np.floating]:
    """Return rows as a registered encoder takes them: padded steps are NaN."""
    side = dataset.a if modality == "a" else dataset.b
    rows: NDArray[np.floating] = np.array(side.values[index])
    if side.holds != "numbers":
        rows = rows.astype(np.float32)
    if side.mask is None:
        return rows
    rows[~side.mask[index]] = np.nan
    return rows


def _differs(
    answers: NDArray[np.floating], measured: NDArray[np.generic], *, classifies: bool
) -> NDArray[np.bool_]:
    """Which rows are answered otherwise, (rows,), but for rounding."""
    if classifies:
        codes = measured.astype(np.int64)
        lead = answers.max(-1) - np.take_along_axis(answers, codes[:, None], -1)[:, 0]
        return np.asarray(~(lead <= _TIE))
    spread = float(np.ptp(measured.astype(np.float64))) or 1.0
    return np.asarray(~(np.abs(answers - measured.astype(np.float64)) <= _TOLERANCE * spread))
