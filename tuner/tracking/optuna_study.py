"""The search as Optuna's storage shows it, for `optuna-dashboard` and for analysis.

What a rung of halving trained is PRUNED there, so that nobody takes its value for a full one.
Only finished trials are written, so none is ever left RUNNING by a driver that died. By how much a
trial violates what the study is subject to is there as Optuna's constraints are: above 0 it does.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from tuner.search.sampler import violations_of
from tuner.storage.database import (
    DatabaseError,
    alone,
    brief_connections,
    has_rows,
    sqlite_file,
)
from tuner.study.scoring.scores import TARGETS
from tuner.study.study import Study
from tuner.study.trial import OF_THE_MACHINE, FinishedTrial

_log = logging.getLogger(__name__)
_LAST_TABLE = "alembic_version"  # which Optuna fills when it has built its tables
_LAG = 60.0  # seconds that the copy on a server may be behind: others ask that server, too


@contextmanager
def _absence_is_told() -> Iterator[None]:
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except (StorageInternalError, DatabaseError) as fault:
        _log.warning("Optuna's storage is away, its copy will follow: %s", fault)


class OptunaCopy:
    """Copies the finished search trials of a study into an Optuna study.

    Args:
        study: The study.
        url: SQLAlchemy URL of the storage.
    """

    def __init__(self, study: Study, url: str) -> None:
        self._study, self._url = study, url
        self._is_on_a_server = sqlite_file(url) is None
        self._copy: Any = None
        self._opening = threading.Lock()
        self._known: set[tuple[str, int]] = set()
        self._copied, self._rests_until = 0, 0.0

    def close(self) -> None:
        """Let go of every connection."""
        if self._copy is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()

    def follow(self, finished: Sequence[FinishedTrial]) -> None:
        """Add the next trial, unless that took more than a twentieth of the time: see `sync`.

        On a server, all that are missing are added at once, over one connection, and the next ones
        a minute later. Nothing is added before the study is open.
        """
        started = time.monotonic()
        if self._copy is not None and started >= self._rests_until:
            self.sync(finished, None if self._is_on_a_server else self._copied + 1)
            ended = time.monotonic()
            least = _LAG if self._is_on_a_server else 0.0
            self._rests_until = ended + max(least, 19 * (ended - started))

    def sync(self, finished: Sequence[FinishedTrial], until: int | None = None) -> None:
        """Add what is missing; a storage that is away is told the next time.

        With bounds, trials of the search wait until λ = 0 has ended, which bounds are relative to.

        Args:
            finished: All finished trials, those of the last time first.
            until: How many of them are to be there afterwards; None for all.
        """
        self.open()
        if self._copy is None:
            return
        baseline = next((t for t in finished if _is_baseline(t)), None)
        with _absence_is_told():
            for trial in finished[self._copied : until]:
                phase = trial.request.phase
                if phase == "search" and self._study.spec.constraints and baseline is None:
                    return
                key = (phase, trial.request.number)
                if phase in ("search", "rung") and key not in self._known:
                    self._copy.add_trial(self._frozen(trial, baseline))
                    self._known.add(key)
                self._copied += 1

    def open(self) -> None:
        """Make the study if it is not there: a second. A storage that is away is asked later."""
        with self._opening, _absence_is_told():
            if self._copy is None:
                self._open()

    def _open(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = self._study
        options = {"pool_pre_ping": True} | brief_connections(self._url)
        is_built = has_rows(self._url, _LAST_TABLE)
        # Its tables may be built by one process at a time: a thousand drivers would queue for that.
        with nullcontext() if is_built else alone(self._url):
            self._storage = optuna.storages.RDBStorage(
                self._url,
                engine_kwargs=options,
                skip_table_creation=is_built or has_rows(self._url, _LAST_TABLE),
            )
        copy = optuna.create_study(
            study_name=f"{study.name}-{study.id}",
            storage=self._storage,
            direction=study.metric.direction,
            load_if_exists=True,
        )
        copy.set_user_attr("metric", f"joint {study.metric.name}")
        copy.set_user_attr("fingerprint", study.dataset.fingerprint)
        self._known = {
            (trial.user_attrs["phase"], trial.user_attrs["number"])
            for trial in copy.get_trials()
            if not trial.user_attrs.get("reason", "").startswith(OF_THE_MACHINE)  # tried again
        }
        self._copy = copy

    def _violations(self, trial: FinishedTrial, baseline: FinishedTrial | None) -> dict[str, float]:
        """By how much a λ of the search violates each bound on validation rows."""
        if baseline is None or baseline.outcome is None or trial.outcome is None:
            return {}
        if trial.request.phase != "search":
            return {}
        study, trained = self._study, [trial.outcome, baseline.outcome]
        found = violations_of(study.spec.constraints, study.validation, trained)
        return {bound: of_both[0] for bound, of_both in found.items()}

    def _frozen(self, trial: FinishedTrial, baseline: FinishedTrial | None) -> Any:
        import optuna

        request, outcome = trial.request, trial.outcome
        attributes: dict[str, Any] = {
            "phase": request.phase,
            "number": request.number,
            "replicates": len(request.seeds),
            **dict(request.settings),
        }
        value, state = None, "FAIL"
        partial: dict[int, float] = {}
        if outcome is None:
            attributes["reason"] = trial.reason
        else:
            scores = {
                target: float(self._study.validation.scores(outcome.predictions, target).mean())
                for target in TARGETS
            }
            attributes |= {f"score_{target}": score for target, score in scores.items()}
            value, state = scores["joint"], "COMPLETE"
            if request.phase == "rung":
                state, partial = "PRUNED", {int(attributes["epochs"]): value}
        return optuna.trial.create_trial(
            state=optuna.trial.TrialState[state],
            value=value,
            intermediate_values=partial,
            params={"lambda": request.strength},
            distributions={
                "lambda": optuna.distributions.FloatDistribution(0, self._study.spec.max_lambda)
            },
            user_attrs=attributes,
            constraints=self._violations(trial, baseline) or None,
        )


def _is_baseline(trial: FinishedTrial) -> bool:
    return trial.request.phase == "search" and trial.request.strength == 0
