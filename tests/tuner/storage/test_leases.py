"""One process at a time works on a study, and a dead one does not keep it."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import text, update

from tests.support.servers import until
from tests.support.statements import statements
from tuner.errors import StudyInUseError
from tuner.storage.database import Database
from tuner.storage.leases import Lease, lease_of
from tuner.storage.tables import LeaseRow

HOLD = """
import sys, time
from tuner.storage.leases import Lease
from tuner.storage.database import Database
with Lease(Database(sys.argv[1]), "s1"):
    print("held", flush=True)
    time.sleep(600)
"""


def set_owner(database, **values):
    with database.session() as session:
        session.execute(update(LeaseRow).values(**values))


def test_a_study_that_is_held_is_refused_until_it_is_given_back(database):
    with Lease(database, "s1") as lease:
        lease.check()
        with pytest.raises(StudyInUseError, match=r"process \d+ on .* working on study s1"):
            Lease(database, "s1").__enter__()
        with Lease(database, "s2") as other:
            other.check()
    with Lease(database, "s1") as again:
        again.check()


def test_it_tells_that_its_study_is_cancelled(store):
    store.open("s1", name="n", fingerprint="f" * 64, spec={})
    assert lease_of("s1") is None
    with Lease(store.database, "s1", duration=1.0) as lease:
        assert lease_of("s1") is lease
        time.sleep(0.5)
        assert not lease.is_unwanted
        store.update("s1", cancel_requested=True)
        until(lambda: lease.is_unwanted, 10.0)
    assert lease_of("s1") is None


def test_one_of_many_gets_it(database):
    taken = []

    def take(_):
        with suppress(StudyInUseError):
            taken.append(Lease(database, "s1").__enter__())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, range(8)))
    assert len(taken) == 1
    taken[0].__exit__(None, None, None)


@pytest.mark.integration
def test_a_killed_owner_on_this_machine_is_followed_at_once(database):
    url = database.engine.url.render_as_string(hide_password=False)
    owner = subprocess.Popen([sys.executable, "-c", HOLD, url], stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline() == "held\n"
    with pytest.raises(StudyInUseError, match=f"process {owner.pid} on"):
        Lease(database, "s1").__enter__()
    owner.kill()
    owner.wait()
    owner.stdout.close()
    with Lease(database, "s1") as lease:
        lease.check()


def test_a_silent_owner_elsewhere_is_followed_once_its_lease_has_ended(database):
    with Lease(database, "s1"):
        set_owner(database, owner="other-host/pid:[1]:1:abc")
    with pytest.raises(StudyInUseError, match="process 1 on other-host is"):
        Lease(database, "s1").__enter__()
    set_owner(database, expires=time.time() - 1)
    with Lease(database, "s1") as lease:
        lease.check()


@pytest.mark.slow
def test_the_owner_renews_by_one_statement(store, database):
    store.open("s1", name="n", fingerprint="f" * 64, spec={})
    with Lease(database, "s1", duration=1.2) as lease:
        with statements(database) as told:
            time.sleep(2)
        lease.check()
        assert not lease.is_unwanted
        assert 3 <= len(told) <= 5, told  # every .4 s
        with pytest.raises(StudyInUseError):
            Lease(database, "s1").__enter__()


def test_an_owner_that_was_replaced_stops_and_leaves_the_lease_alone(database):
    with Lease(database, "s1", duration=1.2) as lease:
        set_owner(database, owner="other-host/pid:[1]:1:abc", expires=time.time() + 60)
        time.sleep(0.6)
        with pytest.raises(StudyInUseError, match="not in this process's hands"):
            lease.check()
    with database.session() as session:
        assert session.get(LeaseRow, "s1").owner.startswith("other-host")


def test_it_tells_that_its_study_is_gone(database):
    with Lease(database, "s1", duration=0.6) as lease:
        until(lambda: lease.is_unwanted, 10.0)
        lease.check()


@pytest.mark.slow
def test_a_renewal_that_failed_is_tried_again_soon(tmp_path):
    """Of a lease of three seconds the first renewal comes after one; then every fifth of one."""
    database = Database(f"sqlite:///{tmp_path}/studies.db")
    tables = ("tuner_leases", "away")
    with Lease(database, "s1", duration=3.0) as lease:
        for old, new in (tables, tables[::-1]):
            with database.engine.begin() as connection:
                connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))
            time.sleep(1.1 if old == "tuner_leases" else 0.0)

        def left():
            with database.session() as session:
                return session.get(LeaseRow, "s1").expires - time.time()

        until(lambda: left() > 2.2, 0.8)
        lease.check()


@pytest.mark.slow
def test_an_owner_that_cannot_reach_the_database_stops(tmp_path, caplog):
    database = Database(f"sqlite:///{tmp_path}/studies.db")
    with Lease(database, "s1", duration=0.6) as lease:
        with database.engine.begin() as connection:
            connection.execute(text("ALTER TABLE tuner_leases RENAME TO away"))
        time.sleep(1.2)
        with pytest.raises(StudyInUseError):
            lease.check()
    assert "could not renew the lease of study s1" in caplog.text
