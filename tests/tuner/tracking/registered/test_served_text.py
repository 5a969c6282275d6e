"""A registered encoder of text takes strings in every form, alone in a process of its own."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException

from tests.models.encoders.test_tokenizer import study, world, write_folder
from tuner.models.export import portable_encoder
from tuner.models.training.loop import train
from tuner.tracking.registered.encoder_model import example_rows, export_network, save_encoder
from tuner.tracking.registered.verification import raw_rows

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::UserWarning:mlflow.*"),
]

ALONE = """
import json, sys
# MLflow loads Lightning where it is, and that loads transformers.
sys.modules |= dict.fromkeys(("lightning", "pytorch_lightning"))
import numpy as np
import mlflow.pyfunc

encoder = mlflow.pyfunc.load_model(sys.argv[1])
np.savez(sys.argv[2], **encoder.predict(json.load(sys.stdin)))
assert not {"tuner", "transformers"} & set(sys.modules)
"""


class Served:
    """A trained and saved encoder of text, and what it answered to test rows before."""

    def __init__(self, kind, where):
        import mlflow.pyfunc

        asked = study(write_folder(where / "folder"), world(), epochs=2)
        if kind == "text":
            asked = study(where / "folder", world(), epochs=2, encoder_b="text")
        outcome = train(asked.data, asked.training, strength=0.0, seeds=[1], test=asked.test_rows)
        encoder = portable_encoder(outcome, asked.data, asked.training, modality="b")
        export_network(where / "network", encoder, example_rows(asked.inputs, "b"), "b")
        logged = SimpleNamespace(artifact_location="", source_run_id=None, model_id="m-1")
        self.folder, self.kind = where / "model", kind
        save_encoder(
            *(self.folder, where / "network", encoder, asked.dataset, "b", logged),
            tokenizer=asked.tokenizers.get("b"),
        )
        index = asked.dataset.indices(2)
        self.texts = asked.dataset.b.texts(index)
        with torch.no_grad():
            embedding, _ = encoder(torch.from_numpy(raw_rows(asked.inputs, "b", index)))
        self.embedding, self.codes = embedding.numpy(), outcome.test_predictions["b"][0]
        self.width = asked.inputs.b.values.shape[1]
        self.model = mlflow.pyfunc.load_model(str(self.folder))

    def refusal(self, given):
        with pytest.raises(MlflowException) as caught:
            self.model.predict(given)
        return str(caught.value)


@pytest.fixture(scope="module", params=["text", "hf"])
def served(request, tmp_path_factory):
    return Served(request.param, tmp_path_factory.mktemp(request.param))


def test_alone_in_a_process_it_answers_as_in_training(served, tmp_path):
    out = tmp_path / "out.npz"
    command = [sys.executable, "-I", "-c", ALONE, str(served.folder), str(out)]
    subprocess.run(command, input=json.dumps(served.texts), text=True, check=True, timeout=300)
    answer = np.load(out)
    np.testing.assert_allclose(answer["embedding"], served.embedding, atol=1e-5)
    np.testing.assert_array_equal(answer["prediction"], served.codes)


FORMS = {
    "array": np.array,
    "objects": lambda texts: np.array(texts, dtype=object),
    "column": lambda texts: np.array(texts)[:, None],
    "tuple": tuple,
    "series": pd.Series,
    "frame": lambda texts: pd.DataFrame({"caption": texts}),
    "nested": lambda texts: [[text] for text in texts],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_strings_are_taken_in_every_form(served, form):
    answer = served.model.predict(form(served.texts))
    np.testing.assert_allclose(answer["embedding"], served.embedding, atol=1e-5)


def test_a_row_alone_is_answered_as_among_others(served):
    for text, expected in zip(served.texts[:3], served.embedding, strict=False):
        one = served.model.predict([text])["embedding"][0]
        np.testing.assert_allclose(one, expected, atol=1e-5)
    assert served.model.predict([])["embedding"].shape == (0, 6)


def test_text_longer_than_any_in_training_is_cut_and_the_log_says_so(served, caplog):
    long = " ".join(["cat é"] * 200)
    (cut,) = served.model.predict([long])["embedding"]
    assert "1 of 1 texts are cut" in caplog.text
    if served.kind == "text":
        kept = long.encode()[: served.width].decode(errors="ignore")
        np.testing.assert_allclose(served.model.predict([kept])["embedding"][0], cut, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([1, 2], "this input holds int, where str is wanted"),
        (np.ones((2, 3)), "has several values a row"),
        (["a cat", 2.5], "holds float, where str is wanted"),
        (["a cat", None], "row 1, counted from 0, holds no text"),
        (pd.Series(["", np.nan, "a"]), r"row 0 (and 1 more), counted from 0, holds no text"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), "has several values a row"),
        ("a cat", "this input is a str: put a single text into a list"),
        (3, "this input is a int"),
    ],
)
def test_what_is_no_text_is_refused_in_a_sentence(served, given, words):
    text = served.refusal(given)
    assert text.startswith("The encoder of B takes text, one str a row; ")
    assert words in text


def test_what_mlflow_shows_of_it(served):
    (wanted,) = served.model.metadata.signature.inputs.inputs
    assert (wanted.type, wanted.shape) == (np.dtype(str), (-1,))
    example = served.model.input_example
    assert isinstance(example[0], str)
    files = {file.name for file in (served.folder / "artifacts").iterdir()}
    requirements = (served.folder / "requirements.txt").read_text()
    assert ("tokenizer.json" in files) == ("tokenizers" in requirements) == (served.kind == "hf")
    assert "transformers" not in requirements
