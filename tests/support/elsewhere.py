"""Registered encoders, used in a process that sees nothing of this project."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

PREDICT = """
import importlib.util, sys
from pathlib import Path
import mlflow, numpy as np
assert importlib.util.find_spec("tuner") is None
for source in sys.argv[1:]:
    encoder = mlflow.pyfunc.load_model(source)
    folder = Path(source)
    rows = np.load(folder / "rows.npy")
    np.savez(folder / "answer.npz", **encoder.predict(rows))
    for count in (1, 2, 1000):
        some = encoder.predict(np.resize(rows, (count, *rows.shape[1:])))
        assert all(len(part) == count for part in some.values())
    for other in (rows.astype("float64"), rows.tolist()):
        answer = encoder.predict(other)
        assert all((answer[part] == values).all() for part, values in encoder.predict(rows).items())
    nothing = ("holds NaN", "holds nothing but padding")
    for wrong, words in ((rows * np.nan, nothing), (rows[..., 1:], ("where training had",))):
        try:
            encoder.predict(wrong)
        except mlflow.exceptions.MlflowException as error:
            assert any(each in str(error) for each in words), error
        else:
            raise AssertionError("took what it cannot use")
"""


def predict_elsewhere(sources, folder):
    """Predict in a process that sees nothing of this project and refuses pickles."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    # -I keeps the working directory out; what an editable install adds is taken away.
    here = str(Path(__file__).parents[2])
    code = f"import sys; sys.path = [path for path in sys.path if path != {here!r}]\n{PREDICT}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, *sources],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = []
    for source in sources:
        with np.load(Path(source) / "answer.npz") as answer:
            answers.append(dict(answer))
    return answers
