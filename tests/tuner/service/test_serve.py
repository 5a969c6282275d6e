"""How a service starts: its first key, its port."""

import stat

import pytest

from tuner.service.serve import FIRST_USER, first_key
from tuner.settings import Settings
from tuner.storage.accounts import caller_of, create_key, keys, revoke_key
from tuner.storage.database import Database


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home")


def test_the_first_start_makes_a_key_whoever_has_one_already(settings):
    with Database(settings.store_url) as database:
        create_key(database, "zoe")
        file = first_key(settings)
        assert caller_of(database, file.read_text().strip()).name == FIRST_USER
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert first_key(settings) is None


def test_a_key_that_was_revoked_is_not_made_again(settings):
    with Database(settings.store_url) as database:
        first_key(settings).unlink()
        ((row, _),) = keys(database)
        revoke_key(database, row.id)
    assert first_key(settings) is None


def test_a_start_that_was_cut_short_is_made_good(settings, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tuner.service.serve.add_key", killed)
        with pytest.raises(KeyboardInterrupt):
            first_key(settings)
    file = first_key(settings)
    with Database(settings.store_url) as database:
        assert caller_of(database, file.read_text().strip()) is not None
