"""What a prediction says in words."""

import pytest

from tuner.prediction.answer import Prediction, Probability
from tuner.prediction.corpus import shipped
from tuner.prediction.prediction import predict
from tuner.reporting.prediction import prediction_words
from tuner.study.spec import StudySpec
from tuner.study.study import Study, read_dataset


@pytest.fixture(scope="module")
def told() -> Prediction:
    spec = StudySpec()
    return predict(Study.of(spec, read_dataset(spec, "mfeat-few")), shipped())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("helps", "harms", "words"),
    [
        (0.8, 0.1, "Alignment is likely to help: 80% ("),
        (0.1, 0.7, "Alignment is likely to harm: 70% ("),
        (0.2, 0.2, "Alignment is likely not to be worth it: 60% ("),
        (0.4, 0.3, "Whether to align is open: that it helps is likeliest, with 40% ("),
        (0.3, 0.3, "Whether to align is open: that it is not worth it is likeliest, with 40% ("),
    ],
)
def test_the_first_line_says_what_is_likeliest_and_how_likely(told, helps, harms, words):
    chance = Probability(helps=helps, harms=harms, neither=1 - helps - harms)
    joint = told.targets["joint"].model_copy(update={"probability": chance})
    told = told.model_copy(update={"targets": {**told.targets, "joint": joint}})
    assert next(prediction_words(told)).startswith(words)
