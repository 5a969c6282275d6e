"""In a process with torch and nothing of this project, exported encoders answer as in training."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.models.encoders import test_custom as custom
from tests.models.encoders import test_ids as ids
from tests.models.test_export import BUILT_IN, SEEDS
from tests.support import networks
from tuner.data import Split, from_arrays
from tuner.models.compute.device import prepare_process
from tuner.models.config import TrainingConfig
from tuner.models.export import portable_encoder
from tuner.models.training.loop import train
from tuner.study.spec import StudySpec
from tuner.study.study import Study

pytestmark = pytest.mark.system

OWN = (
    *networks.DETERMINISTIC,
    *networks.ALONE,
    *networks.RANDOM,
    custom.Lazy,
    custom.Masked,
    ids.Bag,
    ids.Strict,
    ids.Masked,
)
KINDS = {f"{own.__module__}:{own.__name__}": (5,) for own in OWN} | BUILT_IN
KINDS |= {
    f"{custom.__name__}:Masked": (7, 3),
    f"{ids.__name__}:Masked": (7, 1),
    "transformer": (7, 3),
}
PADDED = {f"{custom.__name__}:Masked", f"{ids.__name__}:Masked", "transformer"}

ANSWER = """
import sys
from pathlib import Path
import numpy as np
import torch

torch.set_num_threads(1)
for program in Path(sys.argv[1]).glob("*.pt2"):
    network = torch.export.load(program).module()
    rows = torch.from_numpy(np.load(program.with_suffix(".npy")))
    with torch.inference_mode():
        together = network(rows)[1]
        alone = torch.cat([network(row[None])[1] for row in rows[:5]])
    np.savez(program.with_suffix(".npz"), together=together.numpy(), alone=alone.numpy())
assert "tuner" not in sys.modules
"""


def world(kind):
    """Values that A knows a little of, in the shape that an encoder takes."""
    shape = KINDS[kind]
    rng = np.random.default_rng(5)
    y = rng.normal(size=120)
    if kind.startswith(ids.__name__):
        a = rng.integers(0, ids.WORDS, size=(120, *shape))
    else:
        a = rng.normal(size=(120, *shape)) + 0.3 * y.reshape(-1, *[1] * len(shape))
    arrays = {"a": a, "b": rng.normal(size=(120, 4)), "y": 50 + 9 * y}
    if kind in PADDED:
        arrays["a_mask"] = np.arange(shape[0]) < rng.integers(2, shape[0], 120)[:, None]
    return from_arrays(arrays)


def export(kind, file):
    """Train, export and write raw test rows; return what training predicted for these."""
    dataset = world(kind)
    training = TrainingConfig(
        encoder_a=kind, hidden=8, embedding=6, heads=2, sample_rate=4000, batch_size=32
    ).model_copy(update={"epochs": 6, "patience": 1, "learning_rate": 0.05})
    study = Study.of(StudySpec(training=training), dataset)
    outcome = train(study.data, study.training, strength=0.5, seeds=SEEDS, test=study.test_rows)
    encoder = portable_encoder(outcome, study.data, study.training, modality="a")
    index = dataset.indices(Split.TEST, labelled_only=True)
    rows = np.array(dataset.a.values[index])
    if dataset.a.mask is not None:
        rows[~dataset.a.mask[index]] = np.nan
    example = torch.from_numpy(rows[:2])
    program = torch.export.export(encoder, (example,), dynamic_shapes=[{0: torch.export.Dim.AUTO}])
    torch.export.save(program, file.with_suffix(".pt2"))
    np.save(file.with_suffix(".npy"), rows)
    return outcome.test_predictions["a"][outcome.best_replicate("a")]


def test_every_exported_encoder_answers_as_it_did_in_training(tmp_path):
    prepare_process()
    measured = {}
    for number, kind in enumerate(KINDS):
        measured[kind] = export(kind, tmp_path / str(number))
    subprocess.run([sys.executable, "-I", "-c", ANSWER, str(tmp_path)], check=True, timeout=300)
    for number, (kind, values) in enumerate(measured.items()):
        with np.load(tmp_path / f"{number}.npz") as answers:
            # Of values that hardly differ, a few units in the last place of float32.
            close = {"rtol": 5e-7, "atol": 1e-5 * np.ptp(values), "err_msg": kind}
            np.testing.assert_allclose(answers["together"], values, **close)
            np.testing.assert_allclose(answers["alone"], values[:5], **close)
