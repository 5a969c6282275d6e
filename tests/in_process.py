"""A study without Ray, MLflow or a database: the plan, the training and the answer alone."""

from data import PairedDataset
from models.device import prepare_process
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
    prepare_process()  # as workers do: sums of two threads round differently
    question = Question.of(spec, dataset)
    plan = Plan(spec=spec, validation=question.validation, focus=lambda: question.profile.focus)
    finished: list[FinishedTrial] = []
    while requests := plan.next(finished):
        for request in requests:
            outcome = train(request, question.data, spec.training, question.test_rows)
            finished.append(FinishedTrial(request=request, outcome=outcome))
    return answer(question, plan.choices(finished), finished, wall_seconds=0.0)
