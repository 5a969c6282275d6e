"""What a search may cost is a part of what is asked."""

import numpy as np
import pytest

from tests.tuner.service.conftest import arrays
from tuner.data import from_arrays
from tuner.study.budget import Budget
from tuner.study.spec import StudySpec
from tuner.study.study import Study

BUDGETS = (Budget(), Budget(steps=1), Budget(seconds=1.0), Budget(seconds=1.0, steps=1))


@pytest.fixture(scope="module")
def study():
    return Study.of(StudySpec(), from_arrays(arrays(), name="x"))


@pytest.mark.parametrize("budget", BUDGETS)
def test_options_and_a_budget_are_the_same(budget):
    assert Budget.of(budget.options | {"workers": 3}) == budget


def test_each_budget_is_another_question(study):
    within = [study.within(budget) for budget in BUDGETS]
    assert within[0] is study
    assert len({each.id for each in within}) == len(BUDGETS)
    assert all(len(each.id) == len(study.id) for each in within)
    assert within[1].within(BUDGETS[1]) is within[1]
    assert within[1].within(Budget()) is within[1]


def test_a_store_knows_a_study_by_its_id_or_by_that_of_version_0_1_0(study):
    budget = Budget(steps=5)
    for known in (study.id, study.within(budget).id):
        stored = study.stored_as(known, budget)
        assert (stored.id, stored.budget) == (known, budget)
    assert study.stored_as("0" * 16, budget) is None
    assert study.stored_as(study.within(Budget(steps=6)).id, budget) is None


@pytest.mark.parametrize(
    ("budget", "seconds", "steps", "spent"),
    [
        (Budget(), np.inf, 10**9, False),
        (Budget(seconds=5.0), 5.0, 0, False),
        (Budget(seconds=5.0), 5.1, 0, True),
        (Budget(steps=7), 0.0, 7, False),
        (Budget(steps=7), 0.0, 8, True),
        (Budget(seconds=5.0, steps=7), 0.0, 8, True),
    ],
)
def test_a_budget_is_spent_once_more_than_it_was_used(budget, seconds, steps, spent):
    assert budget.is_spent(seconds=seconds, steps=steps) is spent


def test_what_ended_the_search_is_named():
    both = Budget(seconds=600.0, steps=1000)
    assert "4 of 16 λs were tried: the step budget of 1,000" in both.words(4, 16, steps=1001)
    assert "the time budget of 600 s ended" in both.words(4, 16, steps=900)
