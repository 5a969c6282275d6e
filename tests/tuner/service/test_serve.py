"""How a service starts: its first key, its port."""

import os
import re
import signal
import stat
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tuner.cli.main import app
from tuner.errors import ServiceError
from tuner.service.serve import FIRST_USER, first_key, listen
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


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_is_taken_is_said_to_be(host):
    with listen(host, 0) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(ServiceError, match=f"cannot listen at {host}, port {port}: Address"):
            listen(host, port)
    with pytest.raises(ServiceError, match="port 99999"):
        listen(host, 99_999)


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["web page", "startup complete"])
def test_it_ends_in_order_however_often_it_is_told_to(tmp_path, number, moment):
    command = [sys.executable, "-m", "tuner", "serve", "--port", "0"]
    environment = os.environ | {"TUNER_HOME": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        told = ""
        while moment not in told:
            told += process.stderr.readline()
        for _ in range(2):
            process.send_signal(number)
        told += process.communicate(timeout=60)[1]
    assert not re.search("Traceback|ERROR", told)
    if process.returncode == 130:  # it was not listening yet
        assert told.endswith("\nInterrupted.\n")
    else:  # the second may come when all is done: shells tell that as 130, too
        assert process.returncode in (0, -number)


def test_a_home_that_cannot_be_made_is_a_sentence(monkeypatch):
    monkeypatch.setenv("TUNER_HOME", "/sys/no-home")
    told = CliRunner().invoke(app, ["key", "list"])
    assert told.exit_code == 1
    assert told.output.startswith("Error: ")
    assert "make room, get the rights" in told.output
