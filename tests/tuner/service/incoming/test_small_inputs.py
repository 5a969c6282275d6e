"""Small inputs that no honest client sends: each is refused in words, and breaks nothing."""

import httpx2
import pytest

from tuner.errors import SubmissionError
from tuner.service.incoming.intake import read_options

DEEP = "[" * 50_000 + "]" * 50_000


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (f'{{"trials": {DEEP}}}', "too deep"),
        ('{"name": ' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "}", "too deep"),
        ('{"gpus": 1e999}', "gpus: Input should be a finite number"),
        ('{"time_budget": Infinity}', "time_budget: Input should be a finite number"),
        ('{"smallest_gain": NaN}', "smallest_gain: Input should be a finite number"),
        ('{"max_lambda": 1e400}', "max_lambda: Input should be a finite number"),
        ('{"learning_rate": -Infinity}', "learning_rate: Input should be"),
        ('{"name": "a\\u0000b"}', "control character"),
        ('{"a": "\\ud800"}', "half of a character"),
        ('{"\\udfff": 1}', "half of a character"),
        ("{", "is no JSON"),
        ('{"seed": ' + "9" * 5000 + "}", "is no JSON"),
    ],
)
def test_a_spec_that_no_number_or_text_can_be_is_refused(spec, words):
    with pytest.raises(SubmissionError) as caught:
        read_options(spec)
    assert words in "\n".join([str(caught.value), *caught.value.findings])


@pytest.mark.integration
def test_a_stream_is_taken_up_after_any_number(service):
    with service.http() as http, service.client() as client:
        study = client.submit("mfeat")
        client.cancel(study["id"])
        service.store.set_status(study["study"], "cancelled")
        for number in ("9" * 20, str(2**31), str(2**63), "0", "-1", "x"):
            answer = http.get(f"/studies/{study['id']}/events", headers={"Last-Event-ID": number})
            assert answer.status_code == 200, number
            assert "event: end" in answer.text, number


@pytest.mark.integration
def test_what_a_stranger_names_is_no_label(service):
    for method in ("BREW", "PROPFIND", "get"):
        httpx2.request(method, f"{service.url}/anything/{method}")
    told = httpx2.get(f"{service.url}/metrics").text
    for word in ("BREW", "PROPFIND", 'method="get"', "anything"):
        assert word not in told
    assert 'method="other"' in told
