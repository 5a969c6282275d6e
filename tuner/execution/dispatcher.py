"""Which worker trains which request: a state machine that knows no Ray.

A worker is a name. It is hired, given one request after another, or a part of one, and lost or
dismissed in the end; what became of a request is recorded once, whole.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

from tuner.execution.assembly import Assembly
from tuner.execution.causes import in_one_line
from tuner.models.training.telling import Advance
from tuner.study.trial import FinishedTrial, TrialRequest

NextTrials = Callable[[Collection[TrialRequest]], list[TrialRequest]]
Record = Callable[[FinishedTrial], None]
Divide = Callable[[TrialRequest], Sequence[TrialRequest]]

RETRIES = 2  # of a trial whose worker died
MEMORY_RETRIES = 9  # where memory ran out: others may have taken it, for a while
IDLE = 30.0  # seconds after which a worker that has nothing to do leaves its CPUs to others
_NODE_DIED = "node has died"  # what Ray says then: no fault of the trial
_LOW_MEMORY = "low on memory"


def _undivided(request: TrialRequest) -> Sequence[TrialRequest]:
    return (request,)


class Dispatcher:
    """Hands a plan's requests to workers, and their outcomes back.

    A request, or a part of one, whose worker died is handed out again, a bounded number of times;
    the death of a node does not count. What is begun of a request is ended before the next.

    Args:
        next_trials: Given what is running, what to run besides; asked again when a trial ends.
        record: Called with every finished trial, failed or not, before the next is asked for.
        workers: How many workers there may be at a time.
        divide: Returns the parts of a request, which workers are given; the request by itself if
            it has none.

    Attributes:
        error: What the plan or the record raised, if anything: then nothing more is handed out.
    """

    def __init__(
        self,
        next_trials: NextTrials,
        record: Record,
        workers: int,
        divide: Divide = _undivided,
    ) -> None:
        self._next_trials, self._record, self._workers = next_trials, record, workers
        self._divide = divide
        self._waiting: list[Assembly] | None = None  # None: the plan has to be asked
        self._begun: dict[TrialRequest, Assembly] = {}
        self._hired: set[str] = set()
        self._running: dict[str, TrialRequest] = {}
        self._idle: dict[str, float] = {}  # since when
        self._deaths: Counter[TrialRequest] = Counter()
        self.error: Exception | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self._running and not self._unbegun

    @property
    def running(self) -> Mapping[str, TrialRequest]:
        """What is being trained, by worker."""
        return MappingProxyType(self._running)

    @property
    def idle(self) -> list[str]:
        """Workers that asked for a request when there was none, the longest idle first."""
        return list(self._idle)

    def hire(self, worker: str) -> bool:
        """Take another worker on, if there is work for it."""
        useful = min(self._workers, len(self._running) + self._unbegun)
        if len(self._hired) >= useful:
            return False
        self._hired.add(worker)
        return True

    def next_request(self, worker: str, now: float) -> TrialRequest | None:
        """Give a worker that has none its next request; if there is none, it is idle from `now`.

        Args:
            worker: One that was hired.
            now: Seconds of a clock that never goes back.
        """
        part = self._take(worker)
        if part is None:
            self._idle.setdefault(worker, now)
        else:
            self._idle.pop(worker, None)
        return part

    def finished(self, worker: str, trial: FinishedTrial) -> None:
        """Record what came of the request that a worker had, once all of its parts have ended."""
        del self._running[worker]
        self._end(trial)

    def advance(self, notes: Mapping[TrialRequest, Advance]) -> dict[TrialRequest, Advance]:
        """Return how far requests are of which parts are being trained.

        Args:
            notes: How far these parts are, those that have said so.
        """
        told = {whole: assembly.advance(notes) for whole, assembly in self._begun.items()}
        return {whole: advance for whole, advance in told.items() if advance is not None}

    def lost(self, worker: str, cause: str) -> None:
        """Have the request of a worker that died trained again, or end it if it died too often.

        If no worker lives to begin a request, then the next one that waits counts as begun: else
        workers that cannot start would be hired for ever.

        Args:
            worker: One that was hired; of another nothing is to be said, because Ray tells of
                some deaths twice.
            cause: What Ray says of it, a traceback perhaps.
        """
        if worker not in self._hired:
            return
        part = self._running.get(worker) or self._take(worker)
        if part is not None:
            self._deaths[part] += _NODE_DIED not in cause
            deaths = self._deaths[part]
            if deaths > (MEMORY_RETRIES if _LOW_MEMORY in cause else RETRIES):
                del self._running[worker]
                reason = f"its worker died {deaths} times, lately for: {in_one_line(cause)}"
                self._end(FinishedTrial(request=part, outcome=None, reason=reason))
        self.leave(worker)

    def leave(self, worker: str) -> None:
        """Forget a worker that has ended; what it had is to be trained by another."""
        self._hired.discard(worker)
        self._idle.pop(worker, None)
        part = self._running.pop(worker, None)
        assembly = None if part is None else self._of(part)
        if part is None or assembly is None:
            return
        assembly.give_back(part)
        if not assembly.is_begun:  # the plan says whether and when
            del self._begun[assembly.whole]
            self._ask_again()

    def dismissible(self, now: float) -> list[str]:
        """Return who is needed no more: all if all is done, else who is idle for long.

        Args:
            now: Seconds of the clock of `next_request`.
        """
        if self.is_done:
            return list(self._hired)
        return [worker for worker, since in self._idle.items() if since < now - IDLE]

    @property
    def _unbegun(self) -> int:
        """How many parts wait for a worker."""
        return sum(each.waiting for each in self._open)

    @property
    def _open(self) -> list[Assembly]:
        """Requests that are begun, and those that the plan wants besides; none after an error."""
        waiting = self._requests()
        return [] if self.error is not None else [*self._begun.values(), *waiting]

    def _requests(self) -> list[Assembly]:
        if self._waiting is None:
            self._waiting = []
            with self._held():
                requests = self._next_trials(self._begun.keys())
                self._waiting = [Assembly(each, self._divide(each)) for each in requests]
        return self._waiting

    def _take(self, worker: str) -> TrialRequest | None:
        """Have a worker begin the next part; None if there is none."""
        assembly = next((each for each in self._open if each.waiting), None)
        if assembly is None:
            return None
        if assembly.whole not in self._begun:
            self._requests().remove(assembly)
            self._begun[assembly.whole] = assembly
        part = self._running[worker] = assembly.take()
        return part

    def _of(self, part: TrialRequest) -> Assembly | None:
        """The request that a part is of; None if it has failed for another."""
        whole = part if not part.part_of else replace(part, seeds=part.part_of, part_of=())
        return self._begun.get(whole)

    def _end(self, part: FinishedTrial) -> None:
        assembly = self._of(part.request)
        trial = None if assembly is None else assembly.add(part)
        if trial is None:
            return
        del self._begun[trial.request]
        self._ask_again()
        with self._held():
            self._record(trial)

    def _ask_again(self) -> None:
        """Have the plan asked what to run, a lost trial among it; not after an error."""
        self._waiting = None if self.error is None else []

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Keep an error until all has stopped: Tune, which calls, would only log it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # raised by `run_trials`
            self.error = self.error or error  # the first, which may be why others came
            self._waiting = []
