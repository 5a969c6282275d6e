"""What strangers give a registered encoder is taken as float32 rows are, or refused by name."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException

from tuner.data import from_arrays
from tuner.models.config import TrainingConfig
from tuner.models.encoders.pair import EncoderPair
from tuner.models.export import PortableEncoder
from tuner.models.rows import TrainingData
from tuner.tracking.registered.encoder_model import example_rows, export_network, save_encoder

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::UserWarning:mlflow.*"),
]

# Kind of encoder, shape of a row, and whether sequences are padded.
ENCODERS = {
    "mlp": ("mlp", (5,), False),
    "values": ("mlp", (5,), False),
    "transformer": ("transformer", (7, 3), False),
    "transformer-padded": ("transformer", (7, 3), True),
    "cnn": ("cnn", (2, 8, 9), False),
    "vit": ("vit", (2, 8, 9), False),
    "logmel-transformer": ("logmel-transformer", (800, 1), False),
    "logmel-transformer-padded": ("logmel-transformer", (800, 1), True),
    "logmel-cnn": ("logmel-cnn", (800, 1), False),
    "logmel-cnn-padded": ("logmel-cnn", (800, 1), True),
}
PADDED = [name for name in ENCODERS if name.endswith("-padded")]
WHOLE = [name for name in ENCODERS if name not in PADDED]


class Served:
    """A saved encoder, loaded by MLflow, and rows that it knows."""

    def __init__(self, name, folder, offset=0):
        import mlflow.pyfunc

        kind, shape, padded = ENCODERS[name]
        rng = np.random.default_rng(1)
        arrays = {
            "a": offset + rng.integers(-4, 5, size=(60, *shape)) / 4,  # float16 holds these, too
            "b": rng.normal(size=(60, 3)),
            "y": rng.normal(size=60)
            if name == "values"
            else np.array(["no", "yes"])[np.arange(60) % 2],
        }
        if padded:
            arrays["a_mask"] = (
                np.arange(shape[0]) < rng.integers(shape[0] // 2, shape[0] + 1, 60)[:, None]
            )
        dataset = from_arrays(arrays)
        data = TrainingData.of(dataset)
        config = TrainingConfig(
            encoder_a=kind, encoder_b="mlp", hidden=8, embedding=6, heads=2, sample_rate=4000
        )
        generators = [torch.Generator().manual_seed(3)]
        pair = EncoderPair(data.shapes, data.outputs, config, generators, padded=data.padded)
        encoder = PortableEncoder(pair.a, data, "a").eval()
        network = folder / "network"
        export_network(network, encoder, example_rows(dataset, "a"), "a")
        logged = SimpleNamespace(artifact_location=str(folder), source_run_id=None, model_id=None)
        save_encoder(folder / "model", network, encoder, dataset, "a", logged)
        self.folder = folder / "model"
        self.dataset = dataset
        self.model = mlflow.pyfunc.load_model(str(self.folder))
        self.shape, self.padded = shape, padded
        self.rows = dataset.a.values[:6].astype(np.float32)
        if padded:
            self.rows[~dataset.a.mask[:6]] = np.nan

    def predict(self, rows):
        return self.model.predict(rows)

    def refuses(self, rows):
        with pytest.raises(MlflowException) as caught:
            self.predict(rows)
        assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
        assert caught.value.message.startswith("The encoder of A takes numbers of shape (rows, ")
        assert "\n" not in caught.value.message
        return caught.value.message


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Each encoder, made when it is first asked for."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = Served(name, tmp_path_factory.mktemp(name))
        return made[name]

    return get


def assert_same(answer, expected):
    assert answer.keys() == expected.keys()
    for part, values in expected.items():
        np.testing.assert_array_equal(answer[part], values, err_msg=part)


def as_frame(rows):
    """A column for each feature; where a row has more axes, one column of rows."""
    return pd.DataFrame(rows if rows.ndim == 2 else {"rows": list(rows)})


TAKEN = {
    "float64": lambda rows: rows.astype(np.float64),
    "float16": lambda rows: rows.astype(np.float16),
    "big-endian": lambda rows: rows.astype(">f4"),
    "not contiguous": lambda rows: np.repeat(rows, 2, axis=-1)[..., ::2],
    "Fortran order": np.asfortranarray,
    "objects": lambda rows: rows.astype(object),
    "read-only": lambda rows: np.frombuffer(rows.tobytes(), np.float32).reshape(rows.shape),
    "lists": lambda rows: rows.tolist(),
    "a list of arrays": list,
    "a tensor": torch.from_numpy,
    "a DataFrame": as_frame,
    "a DataFrame of lists": lambda rows: pd.DataFrame({"rows": rows.tolist()}),
    "a Series": lambda rows: pd.Series(list(rows)),
    "lists with None": lambda rows: np.where(np.isnan(rows), None, rows.astype(object)).tolist(),
    "a masked array": lambda rows: np.ma.masked_invalid(rows.astype(np.float64)),
}


def test_inputs_with_an_offset_keep_their_differences(tmp_path):
    encoder = Served("values", tmp_path, offset=1.7e9)
    assert encoder.dataset.a.values.dtype == np.float64
    answers = encoder.predict(encoder.dataset.a.values[:20])["prediction"]
    assert len(np.unique(answers)) == 20
    rows = encoder.dataset.a.values[:20].tolist()
    np.testing.assert_array_equal(encoder.predict(rows)["prediction"], answers)


@pytest.mark.parametrize("name", ENCODERS)
def test_what_float32_gives_any_other_form_gives(served, name):
    encoder = served(name)
    expected = encoder.predict(encoder.rows)
    assert {len(part) for part in expected.values()} == {6}
    for form in TAKEN.values():
        assert_same(encoder.predict(form(encoder.rows)), expected)
    before = encoder.rows.copy()
    np.testing.assert_array_equal(encoder.rows, before)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("dtype", ["i1", "u2", "i8", ">i4", "?"])
def test_integers_and_booleans_are_numbers(served, name, dtype):
    encoder = served(name)
    rows = (np.abs(encoder.rows) > 0.5).astype(dtype)
    assert_same(encoder.predict(rows), encoder.predict(rows.astype(np.float32)))


@pytest.mark.parametrize("name", ENCODERS)
def test_any_number_of_rows(served, name):
    encoder = served(name)
    many = encoder.predict(encoder.rows)
    one = encoder.predict(encoder.rows[:1])
    for part, values in many.items():
        assert one[part].shape == (1, *values.shape[1:])
        if values.dtype.kind == "f":
            np.testing.assert_allclose(one[part], values[:1], rtol=1e-4, atol=1e-5)
    for nothing in (encoder.rows[:0], []):
        none = encoder.predict(nothing)
        for part, values in many.items():
            assert none[part].shape == (0, *values.shape[1:])
            assert none[part].dtype == values.dtype


@pytest.mark.parametrize("name", PADDED)
def test_a_padded_sequence_may_be_shorter_than_in_training(served, name):
    encoder = served(name)
    steps = encoder.shape[0] * 3 // 4
    short = encoder.rows.copy()
    short[:, steps:] = np.nan
    assert_same(encoder.predict(short[:, :steps]), encoder.predict(short))
    told = encoder.refuses(np.zeros((2, encoder.shape[0] + 1, encoder.shape[1])))
    assert f"where training had at most {encoder.shape[0]}; cut" in told


SHAPES = {
    "mlp": ({(6,): "has shape (2, 6): features = 6, where training had 5; give those of training"}),
    "transformer": {
        (6, 3): "steps = 6, where training had 7; cut or pad the sequences as in training",
        (8, 3): "steps = 8, where training had 7",
        (7, 4): "features = 4, where training had 3",
    },
    "transformer-padded": {
        (8, 3): "steps = 8, where training had at most 7",
        (7, 2): "features = 2",
    },
    "cnn": {
        (3, 8, 9): "channels = 3, where training had 2; give those of training",
        (2, 16, 9): "height = 16, where training had 8; resize the images",
        (2, 8, 4): "width = 4, where training had 9",
        (8, 9, 2): "channels = 8, where training had 2",
    },
    "vit": {(2, 16, 18): "height = 16, where training had 8; resize the images"},
    "logmel-cnn": {
        (700, 1): "steps = 700, where training had 800; cut or pad the sequences as in training",
        (801, 1): "steps = 801",
        (800, 2): "features = 2, where training had 1",
    },
    "logmel-transformer": {(1600, 1): "steps = 1600, where training had 800"},
}


@pytest.mark.parametrize("name", SHAPES)
def test_other_shapes_are_refused_by_their_axis(served, name):
    for shape, words in SHAPES[name].items():
        assert words in served(name).refuses(np.zeros((2, *shape)))


@pytest.mark.parametrize("name", ENCODERS)
def test_a_missing_or_further_axis_is_refused(served, name):
    encoder = served(name)
    assert "wanted; a single row is rows[None], or has" in encoder.refuses(encoder.rows[0])
    axes = 1 + len(encoder.shape)
    assert f": {axes + 1} axes, where {axes} are wanted" in encoder.refuses(encoder.rows[None])
    assert "axes, where" in encoder.refuses(encoder.rows.reshape(-1))
    assert "axes, where" in encoder.refuses(np.float32(3))


REFUSED = {
    "text": (lambda rows: rows.astype(str), "this input holds text"),
    "lists of text": (lambda rows: rows.astype(str).tolist(), "this input holds text"),
    "text among numbers": (lambda rows: with_cell(rows.astype(object), "1"), "holds text"),
    "one text": (lambda _: "rows.npy", "this input is a str"),
    "bytes": (lambda _: b"rows", "this input is a bytes"),
    "a dict": (lambda rows: {"rows": rows}, "this input is a dict"),
    "nothing": (lambda _: None, "this input is a NoneType"),
    "complex numbers": (lambda rows: rows.astype(complex), "holds complex128"),
    "dates": (lambda rows: rows.astype("M8[s]"), "holds datetime64[s]"),
    "ragged rows": (lambda rows: [rows[0], rows[1][:1]], "all its rows need the same shape"),
    "a ragged column": (
        lambda rows: pd.DataFrame({"rows": [rows[0], rows[1][:1]]}),
        "this DataFrame is no array",
    ),
    "infinity": (
        lambda rows: with_cell(rows, np.inf),
        "row 1, counted from 0, holds an infinity, or a number beyond float32",
    ),
    "beyond float32": (lambda rows: with_cell(rows.astype(float), -1e300), "row 1, counted"),
    "too far": (
        lambda rows: with_cell(rows, 3e38),
        "row 1, counted from 0, gives no finite answer: it is too far",
    ),
}


def with_cell(rows, value):
    """Give the second row a value that it did not have."""
    rows = rows.copy()
    rows[1].flat[0] = value
    return rows


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("name", ["mlp", "transformer-padded", "cnn", "logmel-cnn"])
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_what_no_encoder_can_use_is_refused(served, name, what):
    make, words = REFUSED[what]
    encoder = served(name)
    assert words in encoder.refuses(make(encoder.rows))


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("missing", [np.nan, None])
def test_what_is_missing_never_comes_with_a_label(served, name, missing):
    encoder = served(name)
    rows = with_cell(encoder.rows.astype(object), missing)
    told = encoder.refuses(rows)
    assert "row 1, counted from 0, holds NaN: fill it in as in the training data" in told
    assert "row 0 (and 5 more), counted from 0, holds NaN" in encoder.refuses(encoder.rows * np.nan)


@pytest.mark.parametrize("name", PADDED)
def test_nan_is_padding_of_a_whole_step_alone(served, name):
    encoder = served(name)
    rows = encoder.rows.copy()
    rows[3] = np.nan
    assert "row 3, counted from 0, holds nothing but padding: leave it out" in encoder.refuses(rows)
    if encoder.shape[1] > 1:
        told = encoder.refuses(with_cell(encoder.rows, np.nan))
        assert "row 1, counted from 0, has steps of which a part is NaN" in told


@pytest.mark.parametrize("name", ENCODERS)
def test_rest_takes_nested_lists(served, name):
    from mlflow.pyfunc.scoring_server import invocations

    encoder = served(name)

    def post(body):
        schema = encoder.model.metadata.get_input_schema()
        response = invocations(json.dumps(body), "application/json", encoder.model, schema)
        assert response.status == 200
        return json.loads(response.response)["predictions"]

    expected = encoder.predict(encoder.rows)
    whole = np.where(np.isnan(encoder.rows), None, encoder.rows.astype(object)).tolist()
    answer = post({"inputs": whole})
    for part, values in expected.items():
        np.testing.assert_array_equal(np.array(answer[part], values.dtype), values)
    assert post({"inputs": []}) == {part: [] for part in expected}
    example = json.loads((encoder.folder / "serving_input_example.json").read_text())
    assert {len(part) for part in post(example).values()} == {2}
    with pytest.raises(MlflowException, match="a single row is rows"):
        post({"inputs": whole[0]})
    with pytest.raises(MlflowException, match="Request payload must be a dictionary with 'inputs'"):
        post({"instances": whole})


@pytest.mark.parametrize("name", ENCODERS)
def test_mlflow_shows_what_goes_in_and_comes_out(served, name):
    encoder = served(name)
    signature = encoder.model.metadata.signature
    steps = (-1,) if encoder.padded else encoder.shape[:1]
    (given,) = signature.inputs.inputs
    assert (given.type, given.shape) == (np.float32, (-1, *steps, *encoder.shape[1:]))
    answer = encoder.predict(encoder.rows)
    assert {s.name: s.shape[1:] for s in signature.outputs.inputs} == {
        part: values.shape[1:] for part, values in answer.items()
    }
