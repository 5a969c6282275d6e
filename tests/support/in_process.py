"""A study without Ray, MLflow or a database: the plan, the training and the answer alone."""

from tuner.analysis.conclusion import conclude
from tuner.data import PairedDataset
from tuner.execution.workers.worker import train_request
from tuner.models.compute.device import prepare_process
from tuner.search.plan import Plan
from tuner.study.result import StudyResult
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, Train


def answer_in_process(
    spec: StudySpec, dataset: PairedDataset, train: Train = train_request
) -> StudyResult:
    prepare_process()  # as workers do: sums of two threads round differently
    study = Study.of(spec, dataset)
    plan = Plan.of(study)
    finished: list[FinishedTrial] = []
    while requests := plan.next(finished):
        finished += [
            FinishedTrial(request=request, outcome=study.trained(request, train))
            for request in requests
        ]
    return conclude(
        study,
        plan.choices(finished),
        finished,
        settings=plan.settings(finished),
        baseline_settings=plan.baseline_settings(finished),
        wall_seconds=0.0,
    )
