"""Text for a pretrained model goes through the tokenizer in its folder, once, before training."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer as Library
from tokenizers import models, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    ViTConfig,
    ViTModel,
)

from tuner.data import from_arrays
from tuner.models.config import TrainingConfig
from tuner.models.encoders.tokenizer import Tokenizer
from tuner.models.errors import EncoderModuleError
from tuner.models.export import portable_encoder
from tuner.models.training.loop import train
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.tracking.registered.verification import raw_rows

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
WORDS = ["cat", "dog", "cow", *"abcdefgh"]


def write_folder(folder, positions=16):
    """A small BERT with random weights, and a tokenizer of whole words."""
    library = Library(models.WordLevel(unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    library.train_from_iterator(WORDS, trainers.WordLevelTrainer(special_tokens=special))
    library.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(0)
    size = library.get_vocab_size()
    config = BertConfig(vocab_size=size, max_position_embeddings=positions, **SMALL)
    BertModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=library).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("bert"))


def world(rows=150, *, longest=5):
    """B names the class among other words; A knows nothing."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, rows)
    texts = [
        " ".join(rng.permutation([*rng.choice(WORDS[3:], rng.integers(1, longest)), WORDS[name]]))
        for name in y
    ]
    return from_arrays({"a": rng.normal(size=(rows, 3)), "b": texts, "y": y}, name="words")


def study(folder, dataset, **changes):
    training = TrainingConfig(
        encoder_a="mlp", encoder_b=f"hf:{folder}", embedding=6, hidden=8, batch_size=32
    ).model_copy(update={"epochs": 12, "learning_rate": 0.01} | changes)
    return Study.of(StudySpec(training=training), dataset)


def test_the_ids_are_those_of_transformers(folder):
    dataset = world()
    asked = study(folder, dataset)
    side = asked.inputs.b
    expected = AutoTokenizer.from_pretrained(folder)(dataset.b.texts())["input_ids"]
    assert [
        row[real].tolist() for row, real in zip(side.values, side.mask, strict=True)
    ] == expected
    assert side.holds == "tokens"
    assert not side.values[~side.mask].any()
    assert asked.inputs.fingerprint == dataset.fingerprint
    assert asked.inputs.warnings == dataset.warnings
    assert asked.dataset is dataset


@pytest.mark.integration
@pytest.mark.parametrize("pretrained", ["frozen", "fine-tuned"])
def test_it_trains_and_is_exported(folder, pretrained):
    asked = study(folder, world(), pretrained=pretrained)
    asked.check_encoders()
    outcome = train(asked.data, asked.training, strength=0.5, seeds=[1, 2], test=asked.test_rows)
    predictions = outcome.test_predictions["b"]
    if pretrained == "fine-tuned":
        assert (predictions == asked.test_rows.target).mean() > 0.8
    encoder = portable_encoder(outcome, asked.data, asked.training, modality="b")
    raw = torch.from_numpy(raw_rows(asked.inputs, "b", asked.inputs.indices(2)))
    rows = {0: torch.export.Dim("rows", min=1)}
    exported = torch.export.export(encoder, (raw[:2],), dynamic_shapes=(rows,)).module()
    with torch.no_grad():
        _, probability = exported(raw)
    np.testing.assert_array_equal(probability.argmax(-1), predictions[outcome.best_replicate("b")])


def test_what_the_model_has_no_positions_for_is_cut_and_that_is_said(tmp_path):
    asked = study(write_folder(tmp_path / "short", positions=5), world())
    assert asked.inputs.b.values.shape[1] == 5
    ends = asked.inputs.b.values[np.arange(150), asked.inputs.b.mask.sum(1) - 1]
    assert (ends == 3).all()  # the mark of the end stays
    (warning,) = (text for text in asked.inputs.warnings if "tokens" in text)
    assert "text is cut to 5 tokens, all that hf:" in warning


@pytest.mark.parametrize(
    ("config", "own", "most"),
    [
        (RobertaConfig(max_position_embeddings=514), {}, 512),
        (BertConfig(max_position_embeddings=512), {"model_max_length": 128}, 128),
        (BertConfig(max_position_embeddings=512), {"model_max_length": 10**30}, 512),
    ],
)
def test_how_many_tokens_a_model_takes(tmp_path, config, own, most):
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(own))
    assert Tokenizer(kind=f"hf:{tmp_path}").most == most


def test_another_tokenizer_is_another_study(folder, tmp_path):
    other = write_folder(tmp_path)
    first, second = (study(where, world()).id for where in (folder, other))
    content = json.loads((other / "tokenizer.json").read_text())
    content["normalizer"] = {"type": "Lowercase"}
    (other / "tokenizer.json").write_text(json.dumps(content))
    assert study(other, world()).id not in (first, second)


def test_a_folder_without_one_is_refused_with_a_mend(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(EncoderModuleError, match=r"AutoTokenizer.from_pretrained\(NAME\)"):
        study(tmp_path, world())


def test_one_that_is_damaged_is_refused(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(EncoderModuleError, match=r"tokenizer\.json cannot be loaded"):
        study(tmp_path, world())


def test_a_model_of_images_takes_no_text(folder, tmp_path):
    ViTModel(ViTConfig(image_size=8, patch_size=4, **SMALL)).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    with pytest.raises(EncoderModuleError, match="a ViTModel takes images, no text"):
        study(tmp_path, world()).check_encoders()


@pytest.mark.slow
def test_ids_of_tokens_with_a_mask_are_taken_as_they_are(folder):
    tokens = study(folder, world()).inputs
    arrays = {"a": tokens.a.values, "b": tokens.b.values, "b_mask": tokens.b.mask, "y": tokens.y}
    asked = study(folder, from_arrays(arrays))
    assert not asked.tokenizers
    np.testing.assert_array_equal(asked.inputs.b.values, tokens.b.values)
    asked.check_encoders()
