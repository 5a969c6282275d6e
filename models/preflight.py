"""Tries an own encoder on rows of the data, as training and registration are going to use it.

It takes seconds, before the first trial; a fault that shows after the last one costs a study.
"""

import copy
import inspect
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from tuner.models.compute.randomness import seeded
from tuner.models.config import TrainingConfig
from tuner.models.encoders.kinds import is_module
from tuner.models.encoders.pair import Branch, packed_extra_state
from tuner.models.encoders.stacked import unstack
from tuner.models.errors import EncoderModuleError
from tuner.models.export import PortableEncoder
from tuner.models.rows import TrainingData

_ROWS = 3  # a batch of two would hide an encoder that fixes its size
_CLOSE = 1e-4  # of embeddings, in units of their largest


def check_own_encoders(data: TrainingData, config: TrainingConfig, *, seed: int) -> None:
    """Try the encoders that a user brings; built-in ones need no trial.

    Args:
        data: What is to be trained on.
        config: How, with encoders that are named.
        seed: Of initial weights.

    Raises:
        EncoderModuleError: With what an encoder does that it must not, and how to mend it.
    """
    for modality, kind in (("a", config.encoder_a), ("b", config.encoder_b)):
        if is_module(kind):
            _Rehearsal(kind, modality, data, config, seed).run()


@dataclass(frozen=True, eq=False)
class _Rehearsal:
    kind: str
    modality: str
    data: TrainingData
    config: TrainingConfig
    seed: int

    def run(self) -> None:
        with seeded(self.seed):  # and what is outside is left as it was
            self._check_signature()
            self._check_training()
            self._check_evaluation()
            self._check_seed()
            self._check_extra_state()
            self._check_export()

    @cached_property
    def _branch(self) -> Branch:
        return self._built()

    @cached_property
    def _inputs(self) -> tuple[Tensor, ...]:
        """A batch of training rows, (rows, …), and its mask where there is one."""
        rows = self.data.train
        count = min(self.config.batch_size, rows.count)
        parts = (getattr(rows, self.modality), getattr(rows, f"{self.modality}_real"))
        x, *real = (torch.tensor(part[:count]) for part in parts if part is not None)
        return (x if x.is_floating_point() else x.long(), *real)

    @property
    def _call(self) -> str:
        return "forward(x, real)" if len(self._inputs) == 2 else "forward(x)"

    @property
    def _kind_of_values(self) -> str:
        x = self._inputs[0]
        if x.is_floating_point():
            return "float32, standardised"
        rows = (self.data.train, self.data.validation)
        most = max(int(getattr(part, self.modality).max()) for part in rows)
        what = "bytes of text" if rows[0].of_text(self.modality) else "ids"
        return f"int64, {what} from 0 to {most}, for which its table needs {most + 1} rows or more"

    def _built(self) -> Branch:
        """Build it from the seed; two of them have to be the same."""
        shape = self.data.shapes[0 if self.modality == "a" else 1]
        padded = self.data.padded[0 if self.modality == "a" else 1]
        generator = torch.Generator().manual_seed(self.seed)
        try:
            return Branch(
                self.kind, shape, self.data.outputs, self.config, [generator], padded=padded
            )
        except EncoderModuleError:
            raise
        except Exception as error:
            raise self._refusal(
                f"cannot be copied for its replicates: {_words(error)}",
                "return a plain torch.nn.Module, not compiled and not scripted",
            ) from error

    def _encoder(self) -> nn.Module:
        """A copy of its own, which may be called in any way."""
        encoder: nn.Module = self._attempt(
            "cannot be copied",
            "a training keeps copies of its best epoch: hold nothing that copy.deepcopy refuses",
            lambda: unstack(self._branch.encoder, 0),
        )
        return encoder

    def _check_signature(self) -> None:
        encoder = self._encoder()
        try:
            inspect.signature(encoder.forward).bind(*self._inputs)
        except TypeError as error:
            side = self.modality
            mend = (
                f"define forward(self, x, real): the data have a mask ({side}_mask), and real, "
                "(rows, time), is True where a step counts"
                if len(self._inputs) == 2
                else "define forward(self, x), or give what it needs besides a default"
            )
            raise self._refusal(f"is called as {self._call}, but {error}", mend) from None

    def _check_training(self) -> None:
        encoder = self._encoder().train()
        count = len(self._inputs[0])
        rows = tuple(part.clone() for part in self._inputs)
        with seeded(self.seed):
            embedding = self._embedded(encoder, rows, f"in training on a batch of {count} rows")
        if not torch.equal(rows[0], self._inputs[0]):
            raise self._refusal(
                "changes its input in place",
                "write x = x + 1 in place of x += 1, and no inplace=True in its first layer",
            )
        trained = [part for part in encoder.parameters() if part.requires_grad]
        if not trained:
            return
        if not embedding.requires_grad:
            raise self._refusal(
                "gives embeddings without a gradient, so that nothing in it would learn",
                "use no detach(), no .data, no torch.no_grad() and no NumPy between x and the "
                "embedding, or freeze it with requires_grad_(False)",
            )
        self._attempt(
            "fails in the backward pass",
            "each step of forward has to be one that torch differentiates",
            lambda: embedding.square().sum().backward(),  # type: ignore[no-untyped-call]  # torch's
        )
        if any(p.grad is not None and not bool(p.grad.isfinite().all()) for p in trained):
            raise self._refusal(
                "has gradients that are NaN or infinite on the first batch",
                "look for a division by zero, a logarithm or a root of zero in forward",
            )

    def _check_evaluation(self) -> None:
        encoder = self._encoder().eval()
        rows = tuple(part[:_ROWS] for part in self._inputs)
        with torch.no_grad():
            once, again = (
                self._embedded(encoder, tuple(part.clone() for part in rows), "in evaluation")
                for _ in range(2)
            )
            if not _alike(once, again):
                raise self._refusal(
                    "answers the same rows twice in two ways in evaluation",
                    "draw nothing there: F.dropout(x, p, self.training) or nn.Dropout as a module, "
                    "noise only if self.training, and no counter that changes the answer",
                )
            for row in range(len(once)):
                alone = tuple(part[row : row + 1].clone() for part in rows)
                one = self._embedded(encoder, alone, "in evaluation on one row alone")
                if not _alike(one, once[row : row + 1]):
                    raise self._refusal(
                        "answers a row in evaluation by what other rows are in its batch",
                        "take no means over axis 0 in evaluation; nn.BatchNorm keeps running ones "
                        "unless track_running_stats=False",
                    )

    def _check_seed(self) -> None:
        other = self._built()
        for name, value in self._branch.tensors().items():
            if not _same(value, other.tensors()[name]):
                raise self._refusal(
                    f"is another one each time that it is built from the same seed: "
                    f"{name.removeprefix('encoder.').replace('/', '.')} differs",
                    "draw its weights from torch's, NumPy's or Python's global generator, which "
                    "are seeded for it, not from one that seeds itself or from the time",
                )
        states = []
        for branch in (self._branch, other):
            encoder = unstack(branch.encoder, 0).train()
            with seeded(self.seed), torch.no_grad():
                states.append(encoder(*(part.clone() for part in self._inputs)))
        if not _alike(*states):
            raise self._refusal(
                "trains in another way each time, from the same seed",
                "draw noise from torch's, NumPy's or Python's global generator, which are seeded",
            )

    def _check_extra_state(self) -> None:
        def kept() -> None:
            for content in packed_extra_state(self._branch.extra_state()).values():
                torch.load(io.BytesIO(content.tobytes()), weights_only=True)

        self._attempt(
            "has an extra state that cannot be kept without running code",
            "return tensors, numbers, strings, lists and dictionaries alone from get_extra_state",
            kept,
        )

    def _check_export(self) -> None:
        portable = PortableEncoder(copy.deepcopy(self._branch), self.data, self.modality).eval()
        rows = _raw(portable, *(part[:_ROWS] for part in self._inputs))
        exported = self._attempt(
            "cannot be exported to be registered",
            "torch.export wants a forward without branches on values of tensors, without packed "
            "sequences (use the mask) and without NumPy",
            lambda: _reloaded(portable, rows[:2]),
        )
        for part in (rows[:2], rows, rows[:1]):
            with torch.no_grad():
                expected = portable(part)[0]
                answer = self._attempt(
                    f"cannot be called on {len(part)} rows once it is exported",
                    "take the number of rows from x.shape[0] or -1, never from a number",
                    partial(_embedding, exported, part),
                )
            if not _alike(answer, expected):
                raise self._refusal(
                    "answers otherwise once it is exported",
                    "keep what it depends on in parameters and buffers (register_buffer)",
                )

    def _embedded(self, encoder: nn.Module, inputs: tuple[Tensor, ...], when: str) -> Tensor:
        """Return its embedding of rows, (rows, embedding), after a look at its form."""
        answer = self._attempt(
            f"fails {when}",
            f"a row of modality {self.modality.upper()} has shape {tuple(inputs[0].shape[1:])}; it "
            f"is called as {self._call}, x in {self._kind_of_values}",
            lambda: encoder(*inputs),
        )
        wanted = (len(inputs[0]), self.config.embedding)
        if not isinstance(answer, Tensor):
            raise self._refusal(
                f"returns a {type(answer).__name__} {when}",
                f"return the embeddings alone, a tensor of shape {wanted}",
            )
        if tuple(answer.shape) != wanted:
            mend = "one row each, of the width that it was built with, and no squeeze()"
            raise self._refusal(
                f"gives {tuple(answer.shape)} {when}",
                f"embeddings of shape {wanted} are wanted: {mend}",
            )
        if answer.dtype != torch.float32:
            raise self._refusal(
                f"gives {str(answer.dtype).removeprefix('torch.')} {when}",
                "end forward with .float(): the heads behind it are float32",
            )
        if not bool(answer.isfinite().all()):
            raise self._refusal(
                f"gives NaN or infinite values {when}",
                "the rows are finite: look for a division by zero or a logarithm of zero in it",
            )
        return answer

    def _attempt(self, what: str, mend: str, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except EncoderModuleError:
            raise
        except Exception as error:
            raise self._refusal(f"{what}: {_words(error)}", mend) from error

    def _refusal(self, what: str, mend: str) -> EncoderModuleError:
        return EncoderModuleError(
            f"encoder {self.kind} of modality {self.modality.upper()} {what}. Mend: {mend}."
        )


def _raw(portable: PortableEncoder, x: Tensor, real: Tensor | None = None) -> Tensor:
    """Undo the standardisation; what is padding becomes NaN."""
    rows = (x.double() * portable.scale + portable.mean).float()
    if real is None:
        return rows
    return rows.masked_fill(~real.view(*real.shape, *(1,) * (rows.dim() - 2)), torch.nan)


def _reloaded(portable: PortableEncoder, rows: Tensor) -> nn.Module:
    """Export an encoder, write it, and read it again."""
    content = io.BytesIO()
    shapes = [{0: torch.export.Dim.AUTO}]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what recurrent layers do with their weights
        torch.export.save(torch.export.export(portable, (rows,), dynamic_shapes=shapes), content)
    content.seek(0)
    return torch.export.load(content).module()


def _embedding(encoder: nn.Module, rows: Tensor) -> Tensor:
    embedding: Tensor = encoder(rows)[0]
    return embedding


def _alike(one: Tensor, other: Tensor) -> bool:
    scale = float(other.abs().max()) or 1.0
    return bool(((one - other).abs() <= _CLOSE * scale).all())


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(torch.equal(one, other))


def _words(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
