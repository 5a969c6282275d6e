"""A study without Ray, MLflow or a database: the plan, the training and the answer alone."""

import torch

from data import PairedDataset
from tuner.answer import answer
from tuner.outcome import FinishedTrial
from tuner.plan import Plan
from tuner.question import Question
from tuner.result import StudyResult
from tuner.spec import StudySpec
from tuner.trial import Train, train_request


def answer_in_process(
    spec: StudySpec, dataset: PairedDataset, train: Train = train_request
) -> StudyResult:
    torch.set_num_threads(1)  # as workers do: sums of two threads round differently
    question = Question.of(spec, dataset)
    plan = Plan(spec=spec, validation=question.validation, focus=question.profile.focus)
    finished: list[FinishedTrial] = []
    while requests := plan.next(finished):
        for request in requests:
            outcome = train(request, question.data, spec.training, question.test_rows)
            finished.append(FinishedTrial(request=request, outcome=outcome))
    return answer(question, plan.choices(finished), finished, wall_seconds=0.0)
