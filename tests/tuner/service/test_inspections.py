"""What is in a data set is told over REST before it is submitted, and nothing of it stays."""

import json

import numpy as np
import pytest

from tests.tuner.service.conftest import arrays
from tuner.data.inspection import inspect
from tuner.errors import ServiceError

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({}, {"seed": 3}),
        ({"who": np.arange(150) // 3, "note": np.full(150, "x")}, {"group": "who"}),
        ({"a": np.full((150, 4), np.nan)}, {}),
        ({}, {"a": "vision", "trials": 9}),
    ],
    ids=["good", "groups", "faulty", "missing"],
)
def test_it_is_what_the_command_tells(service, tmp_path, change, options):
    path = tmp_path / "my pairs.npz"
    np.savez(path, **arrays() | change)
    here = inspect(path, **{name: value for name, value in options.items() if name != "trials"})
    with service.client() as client:
        told = client.inspect(path, **options)
    assert told == json.loads(json.dumps(here.as_dict())) | {"source": "my pairs.npz"}
    assert list(service.settings.uploads.iterdir()) == []
    with service.client() as client:
        assert list(client.list()) == []


def test_examples_are_inspected_and_other_places_are_not(service):
    with service.client() as client:
        assert client.inspect("mfeat")["reading"]["A"] == "fou: 2,000 rows of 76 features"
        for data, options, words in (
            ("/nowhere/passwd", {}, "this service reads"),
            ("mfeat", {"trails": 3}, "trails"),
            ("mfeat", {"missing": 3}, "missing"),
        ):
            with pytest.raises(ServiceError) as caught:
                client.inspect(data, **options)
            assert caught.value.status == 422
            assert words in str(caught.value)
