"""The service under load: `python -m tests.benchmarks.service [STUDIES] [UPLOAD_MIB]`.

Puts many studies into a store, asks a real server for lists, states and events from several
clients at once, alone and beside many who follow studies of which there is no news, and sends it
one large file while watching its memory.
"""

import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from tests.tuner.service.conftest import serving
from tuner.settings import Settings
from tuner.storage.accounts import caller_of, create_key
from tuner.storage.database import Database
from tuner.storage.tables import EventRow, StudyRow, SubmissionRow, TrialRow

_CLIENTS = 4
_SECONDS = 5.0
_FOLLOWERS, _OF_A_USER = 300, 30


def main() -> None:
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    mebibytes = int(sys.argv[2]) if len(sys.argv) > 2 else 1024
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        token, submission = fill(home, studies)
        limits = {"TUNER_RATE_LIMIT": "1000000/second", "TUNER_MAX_UPLOAD": str(2**32)}
        with serving(home, **limits) as (process, url):
            table = Table(title=f"The service with {studies:,} studies, {_CLIENTS} clients")
            for heading in ("request", "a second", "median, ms", "p99, ms"):
                table.add_column(heading)
            for name, path in (
                ("list, 50 of them", "/studies"),
                ("state of one", f"/studies/{submission}"),
                ("events of one, to the end", f"/studies/{submission}/events"),
            ):
                taken = load(f"{url}/api/v1{path}", token)
                table.add_row(
                    name,
                    f"{len(taken) / _SECONDS:.0f}",
                    f"{1000 * statistics.median(taken):.1f}",
                    f"{1000 * np.quantile(taken, 0.99):.1f}",
                )
            with followers(url, home):
                taken = load(f"{url}/api/v1/studies", token)
            table.add_row(
                f"list, beside {_FOLLOWERS} who follow",
                f"{len(taken) / _SECONDS:.0f}",
                f"{1000 * statistics.median(taken):.1f}",
                f"{1000 * np.quantile(taken, 0.99):.1f}",
            )
            Console().print(table)
            most, seconds, status = upload(f"{url}/api/v1", token, process.pid, mebibytes, folder)
            Console().print(
                f"A file of {mebibytes} MiB: {seconds:.0f} s, answered {status}, "
                f"the server had at most {most / 2**20:.0f} MiB"
            )


def fill(home: Path, studies: int) -> tuple[str, str]:
    """Write finished studies down; return a key, and the id of one submission."""
    with Database(Settings(home=home).store_url) as database:
        token = create_key(database, "ada")
        user = caller_of(database, token).user
        ids = [secrets.token_hex(8) for _ in range(studies)]
        with database.session() as session:
            for number, study in enumerate(ids):
                result = {"joint": {"lambda": 0.1, "verdict": "align"}}
                session.add(
                    StudyRow(
                        id=study,
                        name=f"study {number}",
                        fingerprint=study * 4,
                        spec={"trials": 8, "seed": number},
                        status="done",
                        result=result,
                    )
                )
            session.flush()
            for study in ids:
                session.add_all(
                    TrialRow(study_id=study, phase="search", number=n, strength=0.1 * n, seeds=[1])
                    for n in range(8)
                )
                session.add_all(
                    EventRow(study_id=study, kind="progress", content={"done": n}) for n in range(8)
                )
                session.add(
                    SubmissionRow(
                        id=study,
                        user_id=user,
                        study_id=study,
                        name="study",
                        request="",
                        answered=False,
                    )
                )
    return token, ids[studies // 2]


@contextmanager
def followers(url: str, home: Path) -> Iterator[None]:
    """Have many users follow a study each that waits."""
    with Database(Settings(home=home).store_url) as database, ExitStack() as stack:
        for number in range(_FOLLOWERS // _OF_A_USER):
            token = create_key(database, f"follower-{number}")
            study = secrets.token_hex(8)
            row = {"name": "waits", "fingerprint": study * 4, "spec": {}, "status": "queued"}
            with database.session() as session:
                session.add(StudyRow(id=study, starting_until=2**40, **row))
                session.flush()
                user = caller_of(database, token).user
                asked = {"name": "waits", "request": "", "answered": False}
                session.add(SubmissionRow(id=study, user_id=user, study_id=study, **asked))
            client = stack.enter_context(
                httpx2.Client(headers={"Authorization": f"Bearer {token}"}, timeout=60)
            )
            for _ in range(_OF_A_USER):
                stream = client.stream("GET", f"{url}/api/v1/studies/{study}/events")
                stack.enter_context(stream).raise_for_status()
        yield


def load(url: str, token: str) -> list[float]:
    """Ask from several clients for some seconds; return the seconds of every request."""
    ends = time.monotonic() + _SECONDS

    def ask(_: int) -> list[float]:
        taken = []
        with httpx2.Client(headers={"Authorization": f"Bearer {token}"}) as client:
            while time.monotonic() < ends:
                started = time.perf_counter()
                client.get(url).raise_for_status()
                taken.append(time.perf_counter() - started)
        return taken

    with ThreadPoolExecutor(_CLIENTS) as pool:
        return [seconds for part in pool.map(ask, range(_CLIENTS)) for seconds in part]


def upload(url: str, token: str, pid: int, mebibytes: int, folder: str) -> tuple[int, float, int]:
    """Send a valid data set of that size; return the server's most memory, seconds and answer."""
    rng = np.random.default_rng(0)
    rows = mebibytes * 2**20 // (4 * 2 * 1000)
    values = rng.random((rows, 1000), dtype=np.float32)
    path = Path(folder) / "large.npz"
    np.savez(path, a=values, b=values, y=rng.integers(0, 2, rows))
    del values
    most, over = [0], threading.Event()

    def watch() -> None:
        process = psutil.Process(pid)
        while not over.wait(0.05):
            most[0] = max(most[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    headers = {"Authorization": f"Bearer {token}"}
    with path.open("rb") as file, httpx2.Client(headers=headers, timeout=None) as client:
        answer = client.post(f"{url}/studies", files={"file": (path.name, file)})
    seconds = time.perf_counter() - started
    if answer.status_code == 201:
        httpx2.post(f"{url}/studies/{answer.json()['id']}/cancel", headers=headers)
    over.set()
    watcher.join()
    return most[0], seconds, answer.status_code


if __name__ == "__main__":
    main()
