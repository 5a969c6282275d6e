"""Encoders from local Hugging Face folders: small ones with random weights, made here.

`transformers` takes seconds to load: it is loaded by the tests that use it, not with this file.
"""

import numpy as np
import pytest
import torch

from tuner.data import from_arrays
from tuner.models.config import TrainingConfig
from tuner.models.encoders.kinds import resolve
from tuner.models.encoders.pretrained import PretrainedEncoder
from tuner.models.encoders.source import source_digest
from tuner.models.errors import EncoderModuleError
from tuner.models.export import portable_encoder
from tuner.models.preflight import check_own_encoders
from tuner.models.rows import TrainingData
from tuner.models.training.loop import train

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
WAVE = {
    "conv_dim": (8, 8),
    "conv_stride": (5, 2),
    "conv_kernel": (10, 3),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
ROWS = {"vit": (2, 8, 8), "bert": (7, 16), "wav2vec2": (400, 1)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    from transformers import (
        BertConfig,
        BertModel,
        ViTConfig,
        ViTModel,
        Wav2Vec2Config,
        Wav2Vec2Model,
    )

    torch.manual_seed(0)
    models = {
        "vit": ViTModel(ViTConfig(image_size=8, patch_size=4, num_channels=2, **SMALL)),
        "bert": BertModel(BertConfig(vocab_size=10, **SMALL)),
        "wav2vec2": Wav2Vec2Model(Wav2Vec2Config(**SMALL, **WAVE)),
    }
    where = tmp_path_factory.mktemp("pretrained")
    for name, model in models.items():
        model.save_pretrained(where / name)
    return where


def world(name, rows=120, padded=False):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, rows)
    a = rng.normal(size=(rows, *ROWS[name])).astype(np.float32)
    a += y.reshape(-1, *(1,) * len(ROWS[name]))
    arrays = {"a": a, "b": rng.normal(size=(rows, 3)).astype(np.float32) + y[:, None], "y": y}
    if padded:
        arrays["a_mask"] = np.arange(a.shape[1]) < rng.integers(2, a.shape[1], rows)[:, None]
    return from_arrays(arrays, name=name)


def config(folder, **changes):
    small = {"epochs": 2, "embedding": 6, "hidden": 8, "batch_size": 32, "learning_rate": 1e-2}
    return TrainingConfig(encoder_a=f"hf:{folder}", encoder_b="mlp", **small | changes)


@pytest.mark.integration
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("pretrained", ["frozen", "fine-tuned"])
def test_it_trains_and_is_exported(folders, name, pretrained):
    dataset = world(name)
    data = TrainingData.of(dataset)
    asked = resolve(config(folders / name, pretrained=pretrained), data.shapes, data.train.count)
    test_rows = data.scaling.rows(dataset, 2)
    outcome = train(data, asked, strength=0.5, seeds=[1, 2], test=test_rows)
    encoder = portable_encoder(outcome, data, asked, modality="a")

    of_folder = PretrainedEncoder(asked.encoder_a, 6, frozen=True).backbone
    given = of_folder.state_dict()
    now = encoder.encoder.backbone.state_dict()
    changed = [key for key, value in given.items() if not torch.equal(now[key], value)]
    backbone = [key for key in outcome.weights["a"] if "backbone" in key]
    if pretrained == "frozen":
        assert not changed
        assert not backbone  # it lies in its folder
    else:
        assert changed
        assert len(backbone) == len([*of_folder.parameters(), *of_folder.buffers()])

    raw = torch.from_numpy(dataset.a.values[dataset.indices(2)].copy())
    rows = {0: torch.export.Dim("rows", min=1)}
    exported = torch.export.export(encoder, (raw[:2],), dynamic_shapes=(rows,)).module()
    with torch.no_grad():
        embedding, probability = exported(raw)
    assert embedding.shape == (len(raw), 6)
    expected = outcome.test_predictions["a"][outcome.best_replicate("a")]
    np.testing.assert_array_equal(probability.argmax(-1), expected)


@pytest.mark.parametrize("name", ["bert", "wav2vec2"])
def test_padding_is_not_read(folders, name):
    torch.manual_seed(0)
    encoder = PretrainedEncoder(f"hf:{folders / name}", 6, frozen=True).eval()
    x = torch.randn(4, *ROWS[name])
    steps = x.shape[1]
    real = torch.arange(steps) < torch.tensor([[steps // 2]] * 3 + [[steps]])
    other = x.clone()
    far = 3 * steps // 4 if name == "wav2vec2" else steps // 2  # its convolutions see further
    other[:3, far:] = 0.5
    with torch.no_grad():
        first, second = encoder(x, real), encoder(other, real)
    if name == "bert":
        torch.testing.assert_close(first, second)
    assert first.shape == (4, 6)
    assert not torch.allclose(encoder(x)[:3], first[:3], atol=1e-4)


def test_padded_sequences_train(folders):
    dataset = world("bert", padded=True)
    data = TrainingData.of(dataset)
    outcome = train(data, config(folders / "bert"), strength=0.5, seeds=[1])
    assert np.isfinite(outcome.curves["validation_loss_a"]).all()


def test_other_weights_are_another_question(folders, tmp_path):
    from transformers import ViTModel

    vit = ViTModel.from_pretrained(folders / "vit")
    digests = [source_digest(f"hf:{folders / 'vit'}")]
    vit.save_pretrained(tmp_path / "same")
    digests.append(source_digest(f"hf:{tmp_path / 'same'}"))
    with torch.no_grad():
        next(vit.parameters()).add_(1)
    vit.save_pretrained(tmp_path / "other")
    digests.append(source_digest(f"hf:{tmp_path / 'other'}"))
    assert digests[0] == digests[1] != digests[2]


def test_what_cannot_be_used_is_refused_by_name(folders, tmp_path):
    from transformers import CLIPConfig, CLIPModel

    data = TrainingData.of(world("vit"))
    other = TrainingData.of(world("wav2vec2"))

    def refused(folder, data=data):
        with pytest.raises(EncoderModuleError) as caught:
            check_own_encoders(data, config(folder), seed=0)
        return str(caught.value)

    assert "there is no config.json in" in refused(tmp_path)
    (tmp_path / "config.json").write_text((folders / "vit" / "config.json").read_text())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")  # pickled weights are not read
    assert "there is no model.safetensors in" in refused(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    assert "cannot be loaded: " in refused(tmp_path)
    told = refused(folders / "vit", other)
    assert "of modality A fails in training on a batch of" in told
    assert "a row of modality A has shape (400, 1)" in told
    two = CLIPModel(
        CLIPConfig(
            text_config=SMALL | {"vocab_size": 10, "projection_dim": 8},
            vision_config=SMALL | {"image_size": 8, "patch_size": 4},
            projection_dim=8,
        )
    )
    two.save_pretrained(tmp_path / "clip")
    assert "a CLIPModel has no hidden_size" in refused(tmp_path / "clip")
