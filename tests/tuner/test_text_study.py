"""From a Parquet file of encoded images and captions to a verdict and two registered encoders."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.models.encoders.test_tokenizer import WORDS, write_folder

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::UserWarning:mlflow.*"),
]
TUNER = str(Path(sys.executable).with_name("tuner"))
SMALL = [
    f"--{name}={value}"
    for name, value in {
        "trials": 3,
        "replicates": 2,
        "confirm-replicates": 2,
        "epochs": 2,
        "hidden": 16,
        "embedding": 8,
        "workers": 1,
    }.items()
]


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_pairs(file, rows=400, labels=200):
    """Images whose bright corner, and captions of which one word, names the class."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, rows)
    images = rng.integers(0, 128, (rows, 1, 8, 8), dtype=np.uint8)
    for image, name in zip(images, y, strict=True):
        image[0, 4 * (name // 2) :, 4 * (name % 2) :][:4, :4] += 100
    captions = [" ".join(rng.permutation([*rng.choice(WORDS[3:], 4), WORDS[name]])) for name in y]
    names = np.array(WORDS[:3], dtype=object)[y]
    names[rng.permutation(rows)[labels:]] = None
    pd.DataFrame(
        {"image": [png(image[0]) for image in images], "caption": captions, "y": names}
    ).to_parquet(file)
    return images, captions


@pytest.mark.parametrize(
    "pretrained",
    [
        pytest.param(True, marks=pytest.mark.system),
        pytest.param(False, marks=pytest.mark.soak),
    ],
)
def test_from_a_file_to_two_encoders(new_home, tmp_path, monkeypatch, pretrained):
    import mlflow.pyfunc

    images, captions = write_pairs(tmp_path / "pairs.parquet")
    words = ["--a=image", "--b=caption", *SMALL]
    if pretrained:
        write_folder(tmp_path / "bert")
        words += ["--encoder-b=hf:bert", "--pretrained=frozen"]
    run = subprocess.run(
        [TUNER, "run", "pairs.parquet", *words, "--json"],
        cwd=tmp_path,
        env=os.environ | {"TUNER_HOME": str(new_home(tmp_path / "home")), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["joint"]["verdict"] in ("align", "do not align", "undecided")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", result["mlflow"]["tracking_uri"])
    for side, rows in (("a", images[:5]), ("b", captions[:5])):
        model = result["modalities"][side]["model"]
        encoder = mlflow.pyfunc.load_model(f"models:/{model['name']}/{model['version']}")
        answer = encoder.predict(rows)
        assert answer["embedding"].shape == (5, 8)
        assert set(answer["prediction"]) <= set(WORDS[:3])
    report = next((tmp_path / "home").rglob("report.html")).read_text(encoding="utf-8")
    assert f"text of up to {max(map(len, captions))} bytes a row" in report
