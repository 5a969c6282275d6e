"""The code inside a registered encoder: runs wherever mlflow, numpy and torch are installed.

MLflow copies this file into the model and runs it there, so it imports nothing of this project,
and the project never imports it: it only passes its path on.
"""

import contextlib
import json
import logging
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import torch
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from numpy.typing import NDArray

_log = logging.getLogger(__name__)

_AXES = {1: ("features",), 2: ("steps", "features"), 3: ("channels", "height", "width")}
_MENDS = {
    "features": "give those of training, in its order",
    "steps": "cut or pad the sequences as in training",
    "channels": "give those of training, in its order",
    "height": "resize the images",
    "width": "resize the images",
}


class Encoder(mlflow.pyfunc.PythonModel):  # type: ignore[misc,name-defined]  # no types
    """Maps raw rows of one modality to embeddings and predictions."""

    def load_context(self, context: Any) -> None:
        """Load the exported network, what it takes, and what its answers mean."""
        import mlflow.pytorch  # seconds, which MLflow need not take when it saves this file

        self._network = mlflow.pytorch.load_model(str(context.artifacts["network"]))
        about = json.loads(Path(context.artifacts["about"]).read_text(encoding="utf-8"))
        self._classes = about["classes"]
        self._side = about["modality"].upper()
        self._row, self._padded = tuple(about["row"]), about["padded"]
        of_ids = self._padded and len(self._row) == 1
        self._axes = ("steps",) if of_ids else _AXES[len(self._row)]
        self._embeds_ids, self._dtype = about["ids"], np.dtype(about["dtype"])
        self._takes_text, self._tokenizer = about["text"], None
        if "tokenizer" in context.artifacts:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(context.artifacts["tokenizer"]))
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(self._row[0])

    def predict(
        self,
        context: Any,  # noqa: ARG002  # mlflow's signature
        model_input: np.ndarray,  # mlflow warns of other hints
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Embed and predict.

        Args:
            context: Not used.
            model_input: (rows, features), (rows, steps, features) or (rows, channels, height,
                width), as the data set holds them: not standardised. Numbers of any type, as an
                array, nested lists or a DataFrame; what is computed with are float32, or float64
                where the data set needed that. Where the
                encoder was trained on padded sequences, a step whose features are all NaN is
                padding, and there may be fewer steps than in training. Where it was trained on
                text: strings, one a row, as a list, an array, a Series or a column; those that are
                longer than any in training are cut, which a warning in the log tells.
            params: Not used.

        Returns:
            `embedding` (rows, width); `prediction` (rows,) labels as the data set wrote them, or
            values in its units; for classes also `probability` (rows, classes).

        Raises:
            MlflowException: If it is anything else, or no number comes out.
        """
        rows = self._rows(model_input)
        some = rows if len(rows) else np.zeros((1, *rows.shape[1:]), self._dtype)
        try:
            with torch.inference_mode():
                parts = self._network(torch.from_numpy(some))
        except IndexError:
            if not self._embeds_ids:
                raise
            raise self._refusal("this input holds an id that its table does not") from None
        embedding, answer = (part.numpy()[: len(rows)] for part in parts)
        self._refuse_rows(
            ~(_every(np.isfinite(embedding)) & _every(np.isfinite(answer))),
            "gives no finite answer: it is too far from what training had seen",
        )
        if self._classes is None:
            return {"embedding": embedding, "prediction": answer}
        labels = np.array(self._classes)
        return {
            "embedding": embedding,
            "prediction": labels[answer.argmax(-1)],
            "probability": answer,
        }

    def _rows(self, given: Any) -> NDArray[np.floating]:
        """Make of what is given what the network takes, (rows, ...); NaN is padding."""
        if not self._takes_text:
            return self._completed(self._checked_shape(self._numbers(given)))
        texts = self._texts(given)
        pieces, cut = self._tokens(texts) if self._tokenizer else self._bytes(texts)
        if cut:
            _log.warning(
                "%d of %d texts are cut: they are longer than all that the encoder of %s was "
                "trained on (first: row %d, counted from 0)",
                *(len(cut), len(texts), self._side, cut[0]),
            )
        self._refuse_rows(np.array([not piece for piece in pieces]), "holds no token")
        rows = np.full((len(pieces), *self._row), np.nan, self._dtype)
        for row, piece in zip(rows, pieces, strict=True):
            row[: len(piece)] = piece
        return rows

    def _texts(self, given: Any) -> list[str]:
        """Return strings, one a row, or refuse what is none."""
        cells = given.to_numpy() if hasattr(given, "to_numpy") else given
        if isinstance(cells, str | bytes) or not np.iterable(cells):
            lone = ": put a single text into a list" if isinstance(cells, str) else ""
            raise self._refusal(f"this input is a {type(given).__name__}{lone}")
        rows = [
            row[0] if isinstance(row, list | tuple | np.ndarray) and len(row) == 1 else row
            for row in cells
        ]
        if any(isinstance(row, list | tuple | np.ndarray) for row in rows):
            raise self._refusal("this input has several values a row")
        kinds = {
            type(row).__name__ for row in rows if not isinstance(row, str) and not _is_missing(row)
        }
        if kinds:
            raise self._refusal(f"this input holds {', '.join(sorted(kinds))}, where str is wanted")
        self._refuse_rows(
            np.array([not isinstance(row, str) or not row for row in rows], dtype=bool),
            "holds no text: write what stands for it in the training data, or leave it out",
        )
        return [str(row) for row in rows]

    def _bytes(self, texts: list[str]) -> tuple[list[list[int]], list[int]]:
        """UTF-8 of each text, at most as many bytes as in training, and which are cut."""
        most = self._row[0]
        encoded = [text.encode("utf-8", "replace") for text in texts]
        cut = [row for row, text in enumerate(encoded) if len(text) > most]
        for row in cut:  # after a whole letter
            encoded[row] = encoded[row][:most].decode("utf-8", "ignore").encode()
        return [list(text) for text in encoded], cut

    def _tokens(self, texts: list[str]) -> tuple[list[list[int]], list[int]]:
        """Ids of the tokens of each text, at most as many as in training, and which are cut."""
        assert self._tokenizer is not None
        encoded = [self._tokenizer.encode(text) for text in texts]
        cut = [row for row, tokens in enumerate(encoded) if tokens.overflowing]
        return [tokens.ids for tokens in encoded], cut

    def _numbers(self, given: Any) -> NDArray[np.floating]:
        try:
            array = _array(given)
        except (TypeError, ValueError):
            raise self._refusal(
                f"this {type(given).__name__} is no array: all its rows need the same shape"
            ) from None
        if array.ndim == 0 and array.dtype.kind not in "biuf":
            raise self._refusal(f"this input is a {type(given).__name__}")
        objects = array.dtype.kind == "O"
        is_text = array.dtype.kind in "US" or (
            objects and any(isinstance(cell, str) for cell in array.flat)
        )
        if objects and not is_text:
            with contextlib.suppress(TypeError, ValueError):
                array = array.astype(np.float64)  # None becomes NaN
        if array.dtype.kind not in "biuf":
            raise self._refusal(f"this input holds {'text' if is_text else array.dtype}")
        with np.errstate(over="ignore"):  # infinities are refused with their row
            return np.array(array, dtype=self._dtype, order="C")  # owned, writable

    def _checked_shape(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the rows if each is one of training's, but for steps that are padding."""
        if rows.shape == (0,):  # an empty list
            return rows.reshape(0, *self._row)
        shown = f"this input has shape {rows.shape}"
        wanted = 1 + len(self._row)
        if rows.ndim != wanted:
            lone = "; a single row is rows[None], or has one more list around it"
            mend = lone if rows.ndim == wanted - 1 else ""
            raise self._refusal(f"{shown}: {rows.ndim} axes, where {wanted} are wanted{mend}")
        for axis, given, trained in zip(self._axes, rows.shape[1:], self._row, strict=True):
            some = self._padded and axis == "steps"
            if given != trained and not (some and given < trained):
                most = "at most " if some else ""
                raise self._refusal(
                    f"{shown}: {axis} = {given}, where training had {most}{trained}; {_MENDS[axis]}"
                )
        return rows

    def _completed(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Check that all that counts is finite, and pad sequences to the steps of training."""
        self._refuse_rows(~_every(~np.isinf(rows)), "holds an infinity, or a number beyond float32")
        if self._embeds_ids:
            self._refuse_rows(
                ~_every(np.isnan(rows) | (rows >= 0) & (rows == np.floor(rows))),
                "holds a number that is no id: ids are whole numbers from 0",
            )
        missing = np.isnan(rows)
        if not self._padded:
            self._refuse_rows(~_every(~missing), "holds NaN: fill it in as in the training data")
            return rows
        features = tuple(range(2, rows.ndim))  # ids have none
        padding = np.asarray(missing.all(features))
        self._refuse_rows(
            ~_every(missing == padding.reshape(*padding.shape, *(1,) * len(features))),
            "has steps of which a part is NaN: fill it in, or make all features of a padded step "
            "NaN",
        )
        self._refuse_rows(_every(padding), "holds nothing but padding: leave it out")
        absent = self._row[0] - rows.shape[1]
        lacking = ((0, 0), (0, absent), *((0, 0),) * (rows.ndim - 2))
        return np.pad(rows, lacking, constant_values=np.nan)

    def _refuse_rows(self, wrong: NDArray[np.bool_], why: str) -> None:
        """Refuse an input for some of its rows, (rows,), and name the first."""
        places = np.flatnonzero(wrong)
        if len(places):
            more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
            raise self._refusal(f"row {places[0]}{more}, counted from 0, {why}")

    def _refusal(self, why: str) -> MlflowException:
        if self._takes_text:
            takes = f"The encoder of {self._side} takes text, one str a row"
            return MlflowException(f"{takes}; {why}", INVALID_PARAMETER_VALUE)
        sizes = [
            f"{axis} {'≤' if self._padded and axis == 'steps' else '='} {size}"
            for axis, size in zip(self._axes, self._row, strict=True)
        ]
        what = "ids" if self._embeds_ids else "numbers"
        takes = f"The encoder of {self._side} takes {what} of shape (rows, {', '.join(sizes)})"
        return MlflowException(f"{takes}; {why}", INVALID_PARAMETER_VALUE)


def _array(rows: Any) -> NDArray[Any]:
    """Make an array of what pandas, JSON and NumPy hold rows in."""
    if hasattr(rows, "to_numpy"):  # pandas
        rows = rows.to_numpy()
        if rows.ndim == 2 and rows.shape[1] == 1 and rows.size and np.ndim(rows[0, 0]):
            rows = rows[:, 0]  # a column of rows
    if isinstance(rows, np.ma.MaskedArray):
        rows = np.ma.filled(rows.astype(np.float64), np.nan)
    return np.asarray(_nested(rows))


def _is_missing(cell: Any) -> bool:
    """Whether it is None, NaN, or what pandas puts in their place."""
    return cell is None or str(cell) in ("nan", "<NA>")


def _nested(cells: Any) -> Any:
    """Make lists of arrays that hold arrays."""
    if isinstance(cells, np.ndarray) and cells.dtype == object and cells.ndim:
        return [_nested(cell) for cell in cells]
    return cells


def _every(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether all that a row holds is true, (rows,)."""
    return np.asarray(flags.all(tuple(range(1, flags.ndim))), dtype=bool)


mlflow.models.set_model(Encoder())
