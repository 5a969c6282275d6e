"""Writes an encoder as an MLflow model that needs nothing of this project to be loaded."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuner.data import Modality, PairedDataset, Split
from tuner.errors import EncoderNotKeptError
from tuner.models.encoders.tokenizer import Tokenizer
from tuner.models.export import PortableEncoder
from tuner.tracking.connection import pytorch_flavour, summary
from tuner.tracking.registered.verification import raw_rows

_EXAMPLE_ROWS = 2  # a single one would fix the batch size of the exported network


def export_network(
    folder: Path, encoder: PortableEncoder, example: NDArray[np.floating], modality: str
) -> Path:
    """Write an encoder's network as an exported program, which holds no code.

    Args:
        folder: Where to, as a model of MLflow's pytorch flavour; must not exist.
        encoder: What to write.
        example: Raw rows of its inputs: see `example_rows`.
        modality: `a` or `b`.

    Returns:
        The file of the program.

    Raises:
        EncoderNotKeptError: If `torch.export` cannot trace the network.
    """
    try:
        _save_network(folder, encoder, example)
    except Exception as error:
        if isinstance(error, OSError):
            raise
        raise EncoderNotKeptError(
            f"The encoder of {modality.upper()} is not registered: torch.export cannot trace its "
            f"network ({summary(error)}); packed sequences and branches on data are what it "
            "cannot follow"
        ) from error
    (program,) = folder.rglob("*.pt2")
    return program


def save_encoder(
    folder: Path,
    network: Path,
    encoder: PortableEncoder,
    dataset: PairedDataset,
    modality: str,
    logged: Any,
    *,
    tokenizer: Tokenizer | None = None,
) -> None:
    """Write a Python model in front of an exported network.

    The pytorch flavour alone would serve networks of one output only, and knows no labels and no
    text.

    Args:
        folder: Where to; must not exist.
        network: What `export_network` wrote.
        encoder: Of which network that is.
        dataset: Where its example rows and its labels come from.
        modality: `a` or `b`.
        logged: MLflow's entity of a logged model, which the files are for.
        tokenizer: What makes ids of text for the network; without it they are its bytes.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    side = dataset.a if modality == "a" else dataset.b
    inputs = dataset if tokenizer is None else tokenizer.applied_to(dataset, modality)
    example = example_rows(inputs, modality)
    files = {"network": network} | ({} if tokenizer is None else {"tokenizer": tokenizer.file})
    with tempfile.TemporaryDirectory(prefix="tuner-about-") as scratch:
        about = Path(scratch) / "about.json"
        about.write_text(json.dumps(_about(encoder, inputs, modality, side)), encoding="utf-8")
        mlflow.pyfunc.save_model(
            str(folder),
            mlflow_model=Model(
                artifact_path=logged.artifact_location,
                run_id=logged.source_run_id,
                model_uuid=logged.model_id,
                model_id=logged.model_id,
            ),
            python_model=str(Path(__file__).with_name("served_encoder.py")),
            artifacts={name: str(file) for name, file in files.items()} | {"about": str(about)},
            signature=_signature(encoder, dataset, modality, example),
            input_example=_texts(dataset, side) if side.holds == "text" else example,
            pip_requirements=_requirements(*(["tokenizers"] if tokenizer else [])),
        )
    for model in folder.rglob("MLmodel"):
        _forget_this_machine(model)


def _forget_this_machine(model: Path) -> None:
    """Take out of a model's description where its files came from: MLflow looks beside it."""
    from mlflow.models import Model

    for cache in model.parent.rglob("__pycache__"):
        shutil.rmtree(cache)
    described = Model.load(str(model))
    for flavor in described.flavors.values():
        if "model_code_path" in flavor:
            flavor["model_code_path"] = Path(flavor["model_code_path"]).name
        for artifact in (flavor.get("artifacts") or {}).values():
            artifact["uri"] = artifact["path"]
    described.save(str(model))


def _save_network(folder: Path, encoder: PortableEncoder, example: NDArray[np.floating]) -> None:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

    with _no_stack_traces():
        pytorch_flavour().save_model(
            encoder,
            str(folder),
            serialization_format="pt2",
            signature=ModelSignature(Schema([_tensor(example)])),
            input_example=example,
            pip_requirements=_requirements(),
        )


@contextmanager
def _no_stack_traces() -> Iterator[None]:
    """Have an exported program not say which lines of which files on this machine it is from."""
    from torch.fx import config

    before = config.do_not_emit_stack_traces
    config.do_not_emit_stack_traces = True
    try:
        yield
    finally:
        config.do_not_emit_stack_traces = before


def _about(
    encoder: PortableEncoder, inputs: PairedDataset, modality: str, side: Modality
) -> dict[str, Any]:
    """What the encoder takes, and what its answers mean: `served_encoder.py` reads it."""
    network = inputs.a if modality == "a" else inputs.b
    return {
        "modality": modality,
        "row": network.values.shape[1:],
        "dtype": "float32" if network.holds != "numbers" else network.values.dtype.name,
        "padded": network.mask is not None,
        "ids": encoder.embeds_ids,
        "text": side.holds == "text",
        "classes": inputs.classes,
    }


def _signature(
    encoder: PortableEncoder, dataset: PairedDataset, modality: str, example: NDArray[np.floating]
) -> Any:
    """What goes in and comes out, shown by MLflow but not enforced.

    MLflow would refuse float64, integers, lists and DataFrames before the encoder could take them;
    a signature that counts as one of type hints leaves the checks to the model.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    with torch.inference_mode():
        embedding, answer = (part.numpy() for part in encoder(torch.from_numpy(example.copy())))
    outputs = {"embedding": embedding, "prediction": answer}
    if dataset.classes is not None:
        labels = np.array(dataset.classes)
        outputs |= {"prediction": labels[answer.argmax(-1)], "probability": answer}
    shape: tuple[int, ...] = (-1, *example.shape[1:])
    side = dataset.a if modality == "a" else dataset.b
    dtype: np.dtype[Any] = example.dtype
    if side.mask is not None:
        shape = (-1, -1, *shape[2:])  # fewer steps will do
    if side.holds == "text":
        shape, dtype = (-1,), np.dtype(str)
    signature = ModelSignature(
        Schema([TensorSpec(dtype, shape)]),
        Schema([_tensor(part, name) for name, part in outputs.items()]),
    )
    signature._is_signature_from_type_hint = True
    return signature


def _tensor(array: NDArray[Any], name: str | None = None) -> Any:
    from mlflow.types import TensorSpec

    dtype = np.dtype(str) if array.dtype.kind == "U" else array.dtype  # whatever the length
    return TensorSpec(dtype, (-1, *array.shape[1:]), name)


def example_rows(dataset: PairedDataset, modality: str) -> NDArray[np.floating]:
    """Rows of validation: they show what inputs look like without giving test rows away."""
    return raw_rows(dataset, modality, dataset.indices(Split.VALIDATION)[:_EXAMPLE_ROWS])


def _texts(dataset: PairedDataset, side: Modality) -> NDArray[np.str_]:
    """Those rows of text as they were written."""
    return np.array(side.texts(dataset.indices(Split.VALIDATION)[:_EXAMPLE_ROWS]))


def _requirements(*more: str) -> list[str]:
    """What is installed here; inferring it would take MLflow seconds."""
    packages = ("mlflow", "numpy", "torch", *more)
    return [f"{package}=={version(package).split('+')[0]}" for package in packages]
