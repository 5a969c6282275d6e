"""Encoders are exported in a process of their own.

What `torch.export` loads takes seconds, which pass while others work; and no network that it cannot
follow holds up or ends the process that has the answer.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from tuner.errors import EncoderNotKeptError
from tuner.execution.helper import OwnProcess, ProcessDiedError, answering
from tuner.models.config import TrainingConfig
from tuner.models.outcome import TrainingOutcome
from tuner.models.rows import TrainingData
from tuner.tracking.connection import pytorch_flavour, summary
from tuner.tracking.registered.verification import NetworkProcess

if TYPE_CHECKING:
    from tuner.models.export import PortableEncoder


@dataclass(frozen=True, kw_only=True, eq=False)
class Export:
    """An encoder that is to be exported, as it can be built again anywhere.

    Attributes:
        outcome: Of a training that kept its weights, of which the best replicate is exported.
        data: What it was trained on.
        config: How it was built.
        modality: `a` or `b`.
        example: Raw rows of its inputs.
        folder: Where to: see `export_network`.
    """

    outcome: TrainingOutcome
    data: TrainingData
    config: TrainingConfig
    modality: str
    example: NDArray[np.floating]
    folder: Path

    def encoder(self) -> "PortableEncoder":
        """Build the encoder again.

        Raises:
            EncoderNotKeptError: If that cannot be done.
        """
        from tuner.models.export import portable_encoder

        try:
            return portable_encoder(self.outcome, self.data, self.config, modality=self.modality)
        except Exception as error:
            raise EncoderNotKeptError(
                f"The encoder of {self.modality.upper()} is not registered: it cannot be built "
                f"again from what was kept of it: {summary(error)}"
            ) from error

    def run(self) -> None:
        """Export it in this process.

        Raises:
            EncoderNotKeptError: If that cannot be done.
            OSError: If it cannot be written.
        """
        from tuner.tracking.registered.encoder_model import export_network

        export_network(self.folder, self.encoder(), self.example, self.modality)


class ExportProcess(OwnProcess):
    """A process that exports encoders, one after another."""

    def __init__(self) -> None:
        super().__init__(__name__)

    def run(self, export: Export) -> Path:
        """Export an encoder.

        Returns:
            The file of the program.

        Raises:
            EncoderNotKeptError: If that cannot be done.
            OSError: If it cannot be written.
        """
        try:
            fault = self.tell(replace(export, data=export.data.without_rows()))
        except ProcessDiedError as error:
            raise EncoderNotKeptError(
                f"The encoder of {export.modality.upper()} is not registered: the process that "
                f"exports it ended before it was done ({error}; −9 is most often too little memory)"
            ) from error
        if fault is not None:
            kind, words = fault
            raise OSError(words) if kind == "system" else EncoderNotKeptError(words)
        (program,) = export.folder.rglob("*.pt2")
        return program


class EncoderProcesses:
    """The processes that encoders are exported and tried in.

    They take seconds to start, which they do when they are told to, or needed.
    """

    def __init__(self) -> None:
        self.exports, self.networks = ExportProcess(), NetworkProcess()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> None:
        """Begin to start them."""
        self.exports.start()
        self.networks.start()

    def end(self) -> None:
        """End them."""
        self.exports.end()
        self.networks.end()


def serve() -> None:
    """Export what is asked for."""
    answering(_fault_of, load=_load)


def _load() -> None:
    """Load what exporting takes, before it is asked for."""
    import torch
    import torch._dynamo

    import tuner.models.export  # noqa: F401
    from tuner.execution.garbage import collect_seldom

    collect_seldom()
    torch.set_num_threads(1)
    pytorch_flavour()


def _fault_of(export: Export) -> tuple[str, str] | None:
    """Export an encoder; return the kind of what went wrong, and what."""
    try:
        export.run()
    except EncoderNotKeptError as error:
        return "network", str(error)
    except OSError as error:
        return "system", str(error)
    except Exception as error:  # noqa: BLE001  # whoever asked is told
        side = export.modality.upper()
        return "network", f"The encoder of {side} is not registered: {summary(error)}"
    return None
