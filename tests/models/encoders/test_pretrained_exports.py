"""Every architecture that `hf:` is known to take: small ones with random weights, made here.

What is exported, loaded in a process that sees torch alone, predicts what was measured in training.
`transformers` takes seconds to load: it is loaded by the tests that use it, not with this file.
"""

import subprocess
import sys

import numpy as np
import pytest
import torch

from tuner.data import from_arrays
from tuner.models.config import TrainingConfig
from tuner.models.encoders.kinds import resolve
from tuner.models.errors import EncoderModuleError
from tuner.models.export import portable_encoder
from tuner.models.preflight import check_own_encoders
from tuner.models.rows import TrainingData
from tuner.models.training.loop import train

pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
IMAGE = {"image_size": 8, "patch_size": 4, "num_channels": 2}
WORDS = {"vocab_size": 80}
WAVE = {
    "conv_dim": (8, 8),
    "conv_stride": (5, 2),
    "conv_kernel": (10, 3),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
STAGES = {"num_channels": 2, "hidden_sizes": [8, 8], "depths": [1, 1]}
SWIN = {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2}
TOKENS = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 1)
POSITIONS = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}

# Name of a configuration of transformers, and its settings; by the rows that a family takes.
ARCHITECTURES = {
    (2, 8, 8): {
        "ViT": SMALL | IMAGE,
        "DeiT": SMALL | IMAGE,
        "Beit": SMALL | IMAGE,
        "Dinov2": SMALL | IMAGE | {"mlp_ratio": 1},
        "CLIPVision": SMALL | IMAGE,
        "SiglipVision": SMALL | IMAGE,
        "Swin": IMAGE | SWIN | {"patch_size": 2},
        "ConvNext": STAGES | {"num_stages": 2, "patch_size": 2},
        "ResNet": STAGES | {"embedding_size": 8},
    },
    (7, 16): {
        "Bert": SMALL | WORDS,
        "Roberta": SMALL | WORDS,
        "DistilBert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16} | WORDS,
        "Albert": SMALL | WORDS | {"embedding_size": 16},
        "Electra": SMALL | WORDS | {"embedding_size": 16},
        "Deberta": SMALL | WORDS | POSITIONS,
        "DebertaV2": SMALL | WORDS | POSITIONS,
        "MPNet": SMALL | WORDS,
        "ModernBert": SMALL | WORDS | TOKENS | {"cls_token_id": 1, "sep_token_id": 1},
        "GPT2": {"n_embd": 16, "n_layer": 1, "n_head": 2} | WORDS | TOKENS,
        "Llama": SMALL | WORDS | {"num_key_value_heads": 2},
    },
    (400, 1): {
        "Wav2Vec2": SMALL | WAVE,
        "Hubert": SMALL | WAVE,
        "WavLM": SMALL | WAVE | {"num_buckets": 8, "max_bucket_distance": 8},
        "Data2VecAudio": SMALL | WAVE | {"conv_pos_kernel_size": 3},
    },
}
SETTINGS = {name: s for family in ARCHITECTURES.values() for name, s in family.items()}
ROWS = {name: rows for rows, family in ARCHITECTURES.items() for name in family}
FEW = ("Swin", "ResNet", "Deberta", "ModernBert", "WavLM")  # the oddest of each family
TABLE = [
    pytest.param(tuple(family), pretrained, id=f"{next(iter(family))}...-{pretrained}")
    for family in ARCHITECTURES.values()
    for pretrained in ("frozen", "fine-tuned")
]

PREDICT = """
import sys, numpy as np, torch
for folder in sys.argv[1:]:
    network = torch.export.load(f"{folder}/network.pt2").module()
    rows = torch.from_numpy(np.load(f"{folder}/rows.npy"))
    with torch.inference_mode():
        np.save(f"{folder}/answer.npy", network(rows)[1].numpy())
"""


def saved(name, settings, folder):
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**settings)
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    return f"hf:{folder}"


def world(shape, *, padded):
    """Values that A knows a little of."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=80)
    a = rng.normal(size=(80, *shape)) + y.reshape(-1, *(1,) * len(shape))
    arrays = {"a": a.astype("f4"), "b": rng.normal(size=(80, 3)).astype("f4"), "y": y}
    if padded:
        lengths = rng.integers(shape[0] // 2, shape[0] + 1, 80)
        arrays["a_mask"] = np.arange(shape[0]) < lengths[:, None]
    return from_arrays(arrays)


def export(kind, shape, folder, *, pretrained):
    """Train and export; frozen in float32 on whole rows, or else in bfloat16 on padded ones."""
    tuned = pretrained == "fine-tuned"
    dataset = world(shape, padded=tuned and len(shape) == 2)
    data = TrainingData.of(dataset)
    config = TrainingConfig(
        encoder_a=kind,
        encoder_b="mlp",
        epochs=1,
        hidden=8,
        embedding=6,
        batch_size=32,
        pretrained=pretrained,
        precision="bfloat16" if tuned else "float32",
    )
    config = resolve(config, data.shapes, data.train.count)
    test = data.scaling.rows(dataset, 2)
    outcome = train(data, config, strength=0.5, seeds=[1], test=test)
    rows = np.array(dataset.a.values[dataset.indices(2)])
    if dataset.a.mask is not None:
        rows[~dataset.a.mask[dataset.indices(2)]] = np.nan
    encoder = portable_encoder(outcome, data, config, modality="a")
    count = ({0: torch.export.Dim.AUTO},)
    program = torch.export.export(encoder, (torch.from_numpy(rows[:2]),), dynamic_shapes=count)
    folder.mkdir()
    torch.export.save(program, folder / "network.pt2")
    np.save(folder / "rows.npy", rows)
    return outcome.test_predictions["a"][0]


def assert_exported_as_measured(names, pretrained, where):
    measured = {}
    for name in names:
        kind = saved(name, SETTINGS[name], where / name)
        folder = where / f"exported-{name}"
        measured[folder] = export(kind, ROWS[name], folder, pretrained=pretrained)
    command = [sys.executable, "-I", "-c", PREDICT, *map(str, measured)]
    subprocess.run(command, check=True, cwd=where)
    for folder, expected in measured.items():
        answer = np.load(folder / "answer.npy")
        assert np.ptp(expected) > 0
        np.testing.assert_allclose(
            answer, expected, rtol=0, atol=1e-5 * np.ptp(expected), err_msg=folder.name
        )


@pytest.mark.system
def test_what_is_exported_predicts_elsewhere_what_was_measured(tmp_path):
    assert_exported_as_measured(FEW, "fine-tuned", tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize(("names", "pretrained"), TABLE)
def test_every_architecture_predicts_elsewhere_what_was_measured(tmp_path, names, pretrained):
    assert_exported_as_measured(names, pretrained, tmp_path)


REFUSED = {
    "Longformer": (
        (7, 16),
        SMALL | WORDS | {"attention_window": 4},
        "a LongformerModel cannot be used: torch.export cannot trace its windows",
    ),
    "ViTMAE": (
        (2, 8, 8),
        SMALL | IMAGE,
        "a ViTMAEModel cannot be used: it hides patches at random whenever it is used; write its",
    ),
    "T5": (
        (7, 16),
        {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2} | WORDS,
        "a T5Model is an encoder with a decoder; bring its encoder alone as a module of yours",
    ),
    "CLIPText": ((7, 16), SMALL | WORDS, "a CLIPTextModel takes ids of tokens, (rows, tokens)"),
    "Wav2Vec2Bert": ((40, 160), SMALL, "a Wav2Vec2BertModel takes input_features; what can be"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_by_its_name(tmp_path, name):
    shape, settings, words = REFUSED[name]
    config = TrainingConfig(encoder_a=saved(name, settings, tmp_path), encoder_b="mlp")
    with pytest.raises(EncoderModuleError) as caught:
        check_own_encoders(TrainingData.of(world(shape, padded=False)), config, seed=0)
    assert words in str(caught.value)


def test_the_weights_of_a_masked_autoencoder_are_those_of_a_vit(tmp_path):
    """What its refusal advises."""
    from transformers import AutoModel, ViTModel

    saved("ViTMAE", SMALL | IMAGE, tmp_path / "mae")
    ViTModel.from_pretrained(tmp_path / "mae").save_pretrained(tmp_path / "vit")
    mae, vit = (AutoModel.from_pretrained(tmp_path / name).state_dict() for name in ("mae", "vit"))
    assert {name for name in vit if name not in mae} == {"pooler.dense.weight", "pooler.dense.bias"}
    for name, value in mae.items():
        torch.testing.assert_close(vit[name], value)
