"""The tokenizer in a pretrained model's folder: text becomes ids of tokens, once, before training.

It is `tokenizer.json`, as `save_pretrained` of a fast tokenizer writes it: data, no code.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tuner.data import Modality, PairedDataset
from tuner.data.memory.blocks import BLOCK_VALUES
from tuner.data.memory.spool import Spool
from tuner.data.validation.findings import counted, rows_where
from tuner.models.config import TrainingConfig
from tuner.models.encoders.source import PREFIX, folder_of
from tuner.models.errors import EncoderModuleError
from tuner.models.typing import Array, Ints, Mask

_MOST = 4_096  # tokens of a row, where the model has no limit of its own
# These count positions from behind that of padding (Liu et al., arXiv 1907.11692).
_LIKE_ROBERTA = ("roberta", "camembert", "mpnet", "data2vec-text", "luke")


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """Makes ids of text for a pretrained model.

    Attributes:
        kind: `hf:PATH` of the model.
    """

    kind: str

    @property
    def file(self) -> Path:
        """Where it lies.

        Raises:
            EncoderModuleError: If there is no model, or no tokenizer beside it.
        """
        folder = folder_of(self.kind)
        if not (folder / "tokenizer.json").is_file():
            raise EncoderModuleError(
                f"encoder {self.kind}: there is no tokenizer.json in {folder}, which text needs; "
                "where the model came from, write it with AutoTokenizer.from_pretrained(NAME)"
                ".save_pretrained(folder)"
            )
        return folder / "tokenizer.json"

    @property
    def digest(self) -> str:
        """SHA-256 of the file and of how long a row may be."""
        return hashlib.sha256(self.file.read_bytes() + str(self.most).encode()).hexdigest()

    @cached_property
    def most(self) -> int:
        """How many tokens a row may have: as many as the model has positions for."""
        folder = folder_of(self.kind)
        config, own = (_json(folder / name) for name in ("config.json", "tokenizer_config.json"))
        positions = config.get("max_position_embeddings") or config.get("n_positions") or _MOST
        if any(name in str(config.get("model_type")) for name in _LIKE_ROBERTA):
            positions -= (config.get("pad_token_id") or 0) + 1
        return int(min(positions, own.get("model_max_length") or _MOST, _MOST))

    def applied_to(self, dataset: PairedDataset, modality: str) -> PairedDataset:
        """Return a data set with ids in place of the text of `a` or `b`; what is cut is a warning.

        Raises:
            EncoderModuleError: If it cannot be loaded, or makes no token of a row.
        """
        side: Modality = getattr(dataset, modality)
        pieces, cut = self._pieces(side)
        lengths = np.array([len(piece) for piece in pieces])
        if not lengths.all():
            raise EncoderModuleError(
                f"encoder {self.kind}: its tokenizer makes no token of {side.name!r} in "
                f"{rows_where(lengths == 0)}: drop these rows from every array"
            )
        warnings = dataset.warnings
        if cut.any():
            warnings += (
                f"array {side.name!r}: text is cut to {counted(self.most, 'token')}, all that "
                f"{self.kind} takes, in {rows_where(cut)}.",
            )
        values, mask = _padded(pieces, lengths)
        tokens = Modality(name=side.name, values=values, mask=mask)
        if modality == "a":
            return replace(dataset, a=tokens, warnings=warnings)
        return replace(dataset, b=tokens, warnings=warnings)

    def _pieces(self, side: Modality) -> tuple[list[Array], Mask]:
        """Ids of the tokens of each row, and (rows,) which are cut."""
        tokenizer = self._loaded()
        cut = np.zeros(len(side.values), dtype=np.bool_)
        pieces = []
        for row, text in enumerate(_texts(side)):
            encoded = tokenizer.encode(text)  # a batch would start threads, which hate forks
            pieces.append(np.array(encoded.ids, dtype=np.int32))
            cut[row] = bool(encoded.overflowing)
        return pieces, cut

    def _loaded(self) -> Any:
        try:
            from tokenizers import Tokenizer as Library
        except ImportError:
            raise EncoderModuleError(
                f"encoder {self.kind}: text needs tokenizers: "
                "pip install 'alignment-tuner[pretrained]'"
            ) from None
        try:
            tokenizer = Library.from_file(str(self.file))
        except Exception as error:  # the library raises no other
            raise EncoderModuleError(
                f"encoder {self.kind}: {self.file} cannot be loaded: {error}"
            ) from error
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.most)
        return tokenizer


def tokenizers_of(training: TrainingConfig, dataset: PairedDataset) -> Mapping[str, Tokenizer]:
    """Return the tokenizers of modalities of text whose encoders are pretrained, by modality."""
    kinds = {"a": training.encoder_a, "b": training.encoder_b}
    return {
        modality: Tokenizer(kind=kind)
        for modality, kind in kinds.items()
        if kind.startswith(PREFIX) and getattr(dataset, modality).holds == "text"
    }


def _texts(side: Modality) -> Iterator[str]:
    step = max(1, BLOCK_VALUES // side.values.shape[1])
    rows = np.arange(len(side.values))
    for start in range(0, len(rows), step):
        yield from side.texts(rows[start : start + step])


def _padded(pieces: list[Array], lengths: Ints) -> tuple[Array, Mask]:
    """Ids (rows, tokens), 0 where they are padding, and which are real."""
    width = int(lengths.max())
    real = np.arange(width) < lengths[:, None]
    spool = Spool()
    step = max(1, BLOCK_VALUES // width)
    for start in range(0, len(pieces), step):
        block = np.zeros(real[start : start + step].shape, dtype=np.int32)
        block[real[start : start + step]] = np.concatenate(pieces[start : start + step])
        spool.append(block)
    return spool.array(np.int32, real.shape), real


def _json(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_bytes()) if file.is_file() else {}
    return content
