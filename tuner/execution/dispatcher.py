"""Which worker trains which request: a state machine that knows no Ray.

A worker is a name. It is hired, given one request after another, and lost or dismissed in the
end; what became of a request is recorded once.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from tuner.execution.causes import in_one_line
from tuner.study.trial import FinishedTrial, TrialRequest

NextTrials = Callable[[Collection[TrialRequest]], list[TrialRequest]]
Record = Callable[[FinishedTrial], None]

RETRIES = 2  # of a trial whose worker died
MEMORY_RETRIES = 9  # where memory ran out: others may have taken it, for a while
IDLE = 30.0  # seconds after which a worker that has nothing to do leaves its CPUs to others
_NODE_DIED = "node has died"  # what Ray says then: no fault of the trial
_LOW_MEMORY = "low on memory"


class Dispatcher:
    """Hands a plan's requests to workers, and their outcomes back.

    A request whose worker died is handed out again, a bounded number of times; the death of a
    node does not count.

    Args:
        next_trials: Given what is running, what to run besides; asked again when a trial ends.
        record: Called with every finished trial, failed or not, before the next is asked for.
        workers: How many workers there may be at a time.

    Attributes:
        error: What the plan or the record raised, if anything: then nothing more is handed out.
    """

    def __init__(self, next_trials: NextTrials, record: Record, workers: int) -> None:
        self._next_trials, self._record, self._workers = next_trials, record, workers
        self._waiting: list[TrialRequest] | None = None  # None: the plan has to be asked
        self._hired: set[str] = set()
        self._running: dict[str, TrialRequest] = {}
        self._idle: dict[str, float] = {}  # since when
        self._deaths: Counter[TrialRequest] = Counter()
        self.error: Exception | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self._running and not self._requests()

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
        useful = min(self._workers, len(self._running) + len(self._requests()))
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
        requests = self._requests()
        if not requests:
            self._idle.setdefault(worker, now)
            return None
        self._idle.pop(worker, None)
        request = self._running[worker] = requests.pop(0)
        return request

    def finished(self, worker: str, trial: FinishedTrial) -> None:
        """Record what came of the request that a worker had."""
        del self._running[worker]
        self._end(trial)

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
        request = self._running.get(worker) or next(iter(self._requests()), None)
        self.leave(worker)
        if request is None:
            return
        self._deaths[request] += _NODE_DIED not in cause
        deaths = self._deaths[request]
        if deaths <= (MEMORY_RETRIES if _LOW_MEMORY in cause else RETRIES):
            return
        reason = f"its worker died {deaths} times, lately for: {in_one_line(cause)}"
        self._end(FinishedTrial(request=request, outcome=None, reason=reason))

    def leave(self, worker: str) -> None:
        """Forget a worker that has ended; what it had is to be trained by another."""
        self._hired.discard(worker)
        self._idle.pop(worker, None)
        if self._running.pop(worker, None) is not None:
            self._ask_again()

    def dismissible(self, now: float) -> list[str]:
        """Return who is needed no more: all if all is done, else who is idle for long.

        Args:
            now: Seconds of the clock of `next_request`.
        """
        if self.is_done:
            return list(self._hired)
        return [worker for worker, since in self._idle.items() if since < now - IDLE]

    def _requests(self) -> list[TrialRequest]:
        if self._waiting is None:
            self._waiting = []
            with self._held():
                self._waiting = self._next_trials(self._running.values())
        return self._waiting

    def _end(self, trial: FinishedTrial) -> None:
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
