"""What others on the machine, and readers of the database, do not see."""

import stat
import subprocess
import sys

import pytest
from sqlalchemy import select, text

from tuner.errors import SealError
from tuner.settings import Settings
from tuner.storage.accounts import Seal, caller_of, create_key, keys, webhook_secret
from tuner.storage.database import Database
from tuner.storage.tables import UserRow


@pytest.fixture
def user(database):
    return caller_of(database, create_key(database, "ada")).user


def row(database, user):
    return database.run(lambda session: session.scalar(select(UserRow).filter_by(id=user)))


def test_a_seal_opens_what_it_closed_and_nothing_else():
    seal = Seal("key")
    closed = [seal.close("whsec_x") for _ in range(2)]
    assert [seal.open(each) for each in closed] == ["whsec_x"] * 2
    assert closed[0] != closed[1]
    for other in (Seal("kez"), Seal("")):
        with pytest.raises(SealError, match="TUNER_SECRET_KEY"):
            other.open(closed[0])


def test_a_secret_is_kept_under_its_seal(database, user):
    secret = webhook_secret(database, user, Seal("key"))
    assert webhook_secret(database, user, Seal("key")) == secret
    kept = row(database, user)
    assert kept.webhook_secret is None
    assert secret.removeprefix("whsec_") not in kept.sealed_secret
    with pytest.raises(SealError):
        webhook_secret(database, user, Seal("another"))


def test_a_plain_secret_of_before_stays_the_same_and_is_plain_no_more(database, user):
    secret = webhook_secret(database, user)
    assert row(database, user).webhook_secret == secret
    assert webhook_secret(database, user, Seal("key")) == secret
    assert row(database, user).webhook_secret is None
    assert webhook_secret(database, user, Seal("key")) == secret


def test_the_key_of_a_home_is_made_once_and_its_owners_alone(tmp_path):
    settings = Settings(home=tmp_path / "home")
    assert settings.sealing_key == Settings(home=tmp_path / "home").sealing_key
    assert len(settings.sealing_key) == 64
    assert {path.name for path in settings.folder.iterdir()} == {"secret-key"}
    assert stat.S_IMODE((settings.folder / "secret-key").stat().st_mode) == 0o600
    assert Settings(secret_key="given").sealing_key == "given"


def test_home_and_database_are_their_owners_alone(tmp_path):
    settings = Settings(home=tmp_path / "home")
    with Database(settings.store_url) as database, database.session() as session:
        session.execute(text("SELECT 1"))
        modes = {path.name: path.stat().st_mode for path in settings.folder.glob("studies.db*")}
    assert len(modes) > 1  # beside it lies what is written ahead
    assert {stat.S_IMODE(mode) for mode in modes.values()} == {0o600}
    assert stat.S_IMODE(settings.folder.stat().st_mode) == 0o700


def test_a_database_that_all_could_read_is_closed(tmp_path):
    url = f"sqlite:///{tmp_path}/old.db"
    Database(url).close()
    (tmp_path / "old.db").chmod(0o644)
    Database(url).close()
    assert stat.S_IMODE((tmp_path / "old.db").stat().st_mode) == 0o600


@pytest.mark.integration
def test_closing_a_database_ends_no_locks_of_others(tmp_path):
    """A second opening in a process, and one elsewhere that takes itself for the last."""
    url = f"sqlite:///{tmp_path}/shared.db"
    elsewhere = f"from tuner.storage.database import Database; Database({url!r}).close()"
    with Database(url) as first, Database(url) as second:
        for number in range(3):
            create_key(first, f"user {number}")
            subprocess.run([sys.executable, "-c", elsewhere], check=True)
            create_key(second, f"other {number}")
        assert (tmp_path / "shared.db-wal").exists()
        assert len(keys(first)) == 6
