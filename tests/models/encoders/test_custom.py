"""Users' own encoders: found last, built once for each replicate, with lazy layers or without."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from tests.models.encoders.test_pair import TINY
from tuner.data import from_arrays
from tuner.models.compute.randomness import seeded
from tuner.models.encoders.custom import build_own_encoder
from tuner.models.encoders.kinds import resolve
from tuner.models.encoders.source import extend_search_path, search_path
from tuner.models.errors import EncoderModuleError
from tuner.models.export import portable_encoder
from tuner.models.rows import TrainingData
from tuner.models.training.loop import train
from tuner.study.spec import StudySpec
from tuner.study.study import Study

BUILDS = []


class Counted(nn.Linear):
    def __init__(self, shape, embedding):
        BUILDS.append(shape)
        super().__init__(shape[0], embedding)


class Lazy(nn.Module):
    """Widths and running statistics are there only after the first rows."""

    def __init__(self, shape, embedding):
        super().__init__()
        self.net = nn.Sequential(
            nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(embedding)
        )

    def forward(self, x):
        return self.net(x)


class Plain(nn.Module):
    """What `Lazy` becomes."""

    def __init__(self, shape, embedding):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(shape[0], 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, embedding)
        )

    def forward(self, x):
        return self.net(x)


class Masked(nn.Module):
    """Takes a mask, always."""

    def __init__(self, shape, embedding):
        super().__init__()
        self.out = nn.LazyLinear(embedding)

    def forward(self, x, real):
        share = real.to(x.dtype)[:, :, None]
        return self.out((x * share).sum(1) / share.sum(1))


def world(padded=False):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 120)
    shape = (120, 7, 3) if padded else (120, 5)
    a = rng.normal(size=shape) + y.reshape(-1, *(1,) * (len(shape) - 1))
    arrays = {"a": a.astype(np.float32), "b": rng.normal(size=(120, 3)).astype(np.float32), "y": y}
    if padded:
        arrays["a_mask"] = np.arange(7) < rng.integers(2, 7, 120)[:, None]
    return from_arrays(arrays, name="own")


def study_with(name, dataset):
    config = TINY.model_copy(update={"encoder_a": f"{__name__}:{name}"})
    return Study.of(StudySpec(training=config), dataset)


@pytest.mark.slow
def test_it_is_built_twice_to_be_tried_and_once_for_each_replicate():
    BUILDS.clear()
    study = study_with("Counted", world())
    assert BUILDS == []
    study.check_encoders()  # two of one seed have to be the same
    assert len(BUILDS) == 2
    train(study.data, study.training, strength=0.5, seeds=[1, 2, 3, 4])
    assert len(BUILDS) == 2 + 4


@pytest.mark.parametrize(("name", "padded"), [("Lazy", False), ("Masked", True)])
def test_lazy_layers_train_and_are_exported(name, padded):
    dataset = world(padded)
    study = study_with(name, dataset)
    outcome = train(study.data, study.training, strength=0.5, seeds=[1, 2], test=study.test_rows)
    encoder = portable_encoder(outcome, study.data, study.training, modality="a")
    index = dataset.indices(2)
    rows = dataset.a.values[index].copy()
    if padded:
        rows[~dataset.a.mask[index]] = np.nan
    with torch.no_grad():
        _, probability = encoder(torch.from_numpy(rows))
    expected = outcome.test_predictions["a"][outcome.best_replicate("a")]
    np.testing.assert_array_equal(probability.argmax(-1), expected)


def test_zeros_leave_no_trace_in_a_lazy_encoder():
    """It starts as a layer that was never lazy does: no row was counted, no mean moved."""
    from tuner.models.encoders.custom import build_own_encoder

    lazy, plain = (build_own_encoder(f"{__name__}:{n}", (5,), TINY) for n in ("Lazy", "Plain"))
    assert lazy.training
    for (name, value), (_, expected) in zip(
        lazy.named_buffers(), plain.named_buffers(), strict=True
    ):
        torch.testing.assert_close(value, expected, msg=name)
    assert [p.shape for p in lazy.parameters()] == [p.shape for p in plain.parameters()]


def test_a_seed_gives_a_lazy_encoder_the_same_weights():
    study = study_with("Lazy", world())
    one, other = (
        train(study.data, study.training, strength=0.5, seeds=seeds, test=study.test_rows)
        for seeds in ([1, 2], [2])
    )
    np.testing.assert_array_equal(
        one.curves["validation_loss_a"][1], other.curves["validation_loss_a"][0]
    )


@pytest.mark.slow
def test_a_relative_folder_is_absolute_in_training_and_as_it_was_in_the_question(
    tmp_path, monkeypatch
):
    from transformers import ViTConfig, ViTModel

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    shape = {"image_size": 8, "patch_size": 4, "num_channels": 2, "intermediate_size": 16}
    ViTModel(ViTConfig(**small, **shape)).save_pretrained(tmp_path / "there" / "vit")
    rng = np.random.default_rng(0)
    images = rng.normal(size=(120, 2, 8, 8)).astype(np.float32)
    dataset = from_arrays({"a": images, "b": images[:, 0, 0], "y": np.arange(120) % 2})
    studies = []
    for folder, kind in ((tmp_path, "hf:there/vit"), (tmp_path / "there", "hf:vit")):
        monkeypatch.chdir(folder)
        spec = StudySpec(training=TINY.model_copy(update={"encoder_a": kind}))
        studies.append(Study.of(spec, dataset))
        assert studies[-1].spec.training.encoder_a == kind
    assert {s.training.encoder_a for s in studies} == {f"hf:{tmp_path / 'there' / 'vit'}"}
    monkeypatch.chdir(tmp_path.parent)
    train(studies[0].data, studies[0].training, strength=0.5, seeds=[1])


def test_a_home_folder_is_left_to_each_machine(monkeypatch):
    from tuner.models.encoders.source import with_absolute_path

    assert with_absolute_path("hf:~/vit") == "hf:~/vit"
    assert with_absolute_path("hf:/data/vit") == "hf:/data/vit"


def test_the_working_directory_comes_last_and_once(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", ["lib", "", "/usr/lib"])
    monkeypatch.chdir(tmp_path)
    assert search_path() == (f"{tmp_path}/lib", str(tmp_path), "/usr/lib")
    monkeypatch.setattr(sys, "path", ["/usr/lib"])
    for _ in range(2):
        extend_search_path(search_path())
        assert sys.path == ["/usr/lib", str(tmp_path)]


@pytest.mark.integration
def test_auto_needs_no_torch():
    code = "import sys; from tuner.models.encoders import kinds; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


OWN = """
import torch
from torch import nn
drawn = torch.rand(3), nn.Linear(4, 4)  # as the module is imported

class Net(nn.Linear):
    def __init__(self, shape, embedding):
        super().__init__(shape[0], embedding)

class Other(nn.Linear):
    def __init__(self, size): ...

built, nothing, unset = nn.Linear(5, 4), 3, None
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_nets.py").write_text(OWN)
    yield tmp_path
    for name in ("own_nets", "own_faulty"):
        sys.modules.pop(name, None)


def test_what_a_module_draws_as_it_is_imported_changes_no_weights(own):
    config = TINY.model_copy(update={"encoder_a": "own_nets:Net"})
    built = []
    for _ in range(2):  # the first imports it
        with seeded(7):
            built.append(build_own_encoder("own_nets:Net", (5,), config))
    with seeded(7):
        expected = nn.Linear(5, config.embedding)
    for encoder in built:
        assert torch.equal(encoder.weight, expected.weight)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Nets", "has no 'Nets'; there is Net$"),
        ("built", r"is a module that is built, .* is called as built\(shape, embedding\)"),
        ("nothing", "nothing is nothing to call"),
        ("unset", "unset is nothing to call"),
        ("Other", r"Other\(size\) takes other arguments than the shape"),
    ],
)
def test_what_builds_no_encoder_is_named(own, name, words):
    with pytest.raises(EncoderModuleError, match=words):
        build_own_encoder(f"own_nets:{name}", (5,), TINY)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("import argparse; argparse.ArgumentParser().parse_args(['--x'])", "raised SystemExit as"),
        ("raise AttributeError('λ')", 'AttributeError as it was imported: λ. .*"__main__":'),
        ("import absent_thing", "cannot import 'own_faulty' .*absent_thing"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(own, line, words):
    (own / "own_faulty.py").write_text(f"{line}\nNet = None")
    with pytest.raises(EncoderModuleError, match=words):
        build_own_encoder("own_faulty:Net", (5,), TINY)


def test_data_say_which_side_is_padded():
    assert TrainingData.of(world(padded=True)).padded == (True, False)
    assert resolve(TINY, ((5,), (4,)), 9).encoder_a == "mlp"
