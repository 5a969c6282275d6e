"""What keeps a path or an address from being read is told apart, with what to do next."""

import http.server
import io
import os
import socket
import threading
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

from tuner import data
from tuner.data.formats import sources
from tuner.data.formats.remote import explain
from tuner.data.inspection import inspect


def error_of(source):
    with pytest.raises(data.DataError) as caught:
        data.read(source)
    (finding,) = caught.value.findings
    assert inspect(source).errors == (finding,)
    return finding


@contextmanager
def server(answer):
    """A web server whose every answer `answer(handler)` gives; yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def with_status(status, **headers):
    def answer(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


STATUS = {
    401: "who asks (401). Use an address that is signed",
    403: "access was refused (403). If the address is signed, it may have expired",
    404: "nothing at this address (404). Check the address",
    410: "any more (410)",
    418: "refused the request (418)",
    429: "too often (429). Wait some minutes",
    500: "the server failed (500). Try again",
    503: "the server failed (503). Try again",
}


@pytest.mark.parametrize(("status", "words"), STATUS.items(), ids=map(str, STATUS))
def test_what_a_web_server_answers(status, words):
    with server(with_status(status)) as address:
        assert words in error_of(f"{address}/x.npz")


def test_how_long_to_wait():
    with server(with_status(429, Retry_After="30")) as address:
        assert "Wait 30 seconds" in error_of(f"{address}/x.npz")


def test_a_server_that_does_not_run():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "the connection was refused" in error_of(f"http://127.0.0.1:{port}/x.npz")


def test_a_host_that_is_not():
    assert "the host is not known" in error_of("http://no-such-host.invalid/x.npz")


def test_a_server_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(sources, "SECONDS_WITHOUT_A_SIGN", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "did not answer in time" in error_of(f"http://127.0.0.1:{port}/x.npz")


def test_a_server_that_hangs_up():
    def answer(handler):
        handler.connection.shutdown(socket.SHUT_RDWR)

    with server(answer) as address:
        assert "the connection broke off" in error_of(f"{address}/x.npz")


def test_a_file_from_a_web_server_is_read(arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(file.getvalue())))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(file.getvalue())

    with server(answer) as address:
        assert data.read(f"{address}/x.npz?sign=a/b").rows == 60


class _S3Error(Exception):
    def __init__(self, status):
        super().__init__("An error occurred")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


def test_what_object_stores_say():
    error = PermissionError("Access Denied")
    error.__cause__ = _S3Error(403)
    assert "access was refused (403)" in explain(error)
    assert "access was refused. Check your credentials" in explain(PermissionError())
    assert "the server failed (503)" in explain(_S3Error(503))
    credentials = type("NoCredentialsError", (Exception,), {})("Unable to locate credentials")
    assert "AWS_PROFILE" in explain(credentials)
    assert explain(ValueError("odd")).startswith("cannot be downloaded: odd. Check the address")


@pytest.mark.parametrize("target", ["/nonexistent/data.npz", "data.npz", "../gone"])
def test_a_link_that_leads_nowhere(tmp_path, target):
    link = tmp_path / "data.npz"
    link.symlink_to(target)
    text = error_of(link)
    assert f"the link {link} leads to {target}" in text
    assert "Did you mean" not in text


def test_a_folder_that_is_a_link_to_nowhere(tmp_path):
    (tmp_path / "disk").symlink_to("/nonexistent")
    text = error_of(tmp_path / "disk" / "deep" / "data.npz")
    assert f"the link {tmp_path / 'disk'} leads to /nonexistent" in text


def test_a_link_that_leads_somewhere(arrays, tmp_path):
    np.savez(tmp_path / "real.npz", **arrays)
    (tmp_path / "link.npz").symlink_to("real.npz")
    assert data.read(tmp_path / "link.npz").rows == 60


def test_a_name_is_not_its_own_suggestion(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    assert "Did you mean" not in error_of(tmp_path / "pipe.npz")


@pytest.mark.parametrize("named", [".npz", ".parquet", ".safetensors", ".csv"])
@pytest.mark.parametrize("kind", [".npz", ".parquet", ".csv"])
def test_a_file_of_another_format_than_its_name_says_is_renamed(arrays, tmp_path, kind, named):
    frame = pd.DataFrame({"a_0": arrays["a"][:, 0], "b_0": arrays["a"][:, 1], "y": arrays["y"]})
    path = tmp_path / f"study{named}"
    write = {".npz": np.savez, ".parquet": frame.to_parquet, ".csv": frame.to_csv}[kind]
    with path.open("wb") as file:
        write(file, **(arrays if kind == ".npz" else {}))
    if kind == named:
        assert inspect(str(path)).arrays
        return
    told = error_of(path)
    assert f"{named} by its name. Rename it to study{kind}." in told
    path = path.rename(tmp_path / f"study{kind}")
    assert inspect(str(path)).arrays


@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html><p>Not, found", b'{"a": [1, 2]}', b"", b"\0,"]
)
def test_what_is_no_table_is_called_none(tmp_path, content):
    path = tmp_path / "study.npz"
    path.write_bytes(content)
    assert "by its name" not in error_of(path)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_read_once_is_no_data_set(tmp_path, kind):
    path = tmp_path / "study.csv"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null")
    told = error_of(path)
    assert "is a pipe or a device" in told
    assert "Did you mean" not in told


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_not_the_folder_one_is_in(name):
    assert "the name of the data is empty" in error_of(name)
