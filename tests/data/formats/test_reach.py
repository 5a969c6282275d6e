"""Strangers' URIs reach what is allowed, and nothing else: not by a redirect, nor by a name."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import numpy as np
import pytest

from tuner.data import DataError, read
from tuner.data.formats.reach import Reach, ReachError
from tuner.data.formats.remote import explain


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("https://data.example/sets/x.npz", True),
        ("https://data.example:443/sets/x.npz", True),
        ("https://DATA.example/sets/deep/x.npz?signature=a%2Fb", True),
        ("http://data.example/sets/x.npz", False),
        ("https://data.example:8443/sets/x.npz", False),
        ("https://data.example:no/sets/x.npz", False),
        ("https://data.example/sets", False),
        ("https://data.example/sets-of-others/x.npz", False),
        ("https://data.example/sets/./x.npz", False),
        ("https://data.example/sets/%25252e%25252e/x.npz", False),
        ("https://data.example/sets/x\r\nHost: evil/x.npz", False),
        ("https://data.example/sets/x\ty.npz", False),
        ("https://data.example/sets/x y.npz", False),
        ("https://evil@data.example/sets/x.npz", False),
        ("https://data.example%40evil.example/sets/x.npz", False),
        ("https:///sets/x.npz", False),
        ("file:///srv/x.npz", True),
        ("file:///srv/x.npz::http://127.0.0.1/x.npz", False),
        ("file:///srv/x.npz%3A%3Ahttp://127.0.0.1/x.npz", False),
        ("simplecache::file:///srv/x.npz", False),
    ],
)
def test_what_lies_under_a_prefix_and_stays_there(uri, allowed):
    reach = Reach.of("https://data.example/sets, file:///srv")
    assert reach.allows(uri) is allowed


@pytest.mark.parametrize(
    ("prefixes", "host", "address", "allowed"),
    [
        ("https://", "data.example", "93.184.216.34", True),
        ("https://", "data.example", "2606:2800:220:1::1", True),
        ("https://", "data.example", "127.0.0.1", False),
        ("https://", "data.example", "10.0.0.7", False),
        ("https://", "data.example", "169.254.169.254", False),
        ("https://", "data.example", "100.64.0.1", False),
        ("https://", "data.example", "0.0.0.0", False),
        ("https://", "data.example", "224.0.0.1", False),
        ("https://", "data.example", "::1", False),
        ("https://", "data.example", "fe80::1%eth0", False),
        ("https://", "data.example", "fd00::1", False),
        ("https://", "data.example", "::ffff:10.0.0.7", False),
        ("https://", "data.example", "64:ff9b::a00:7", False),
        ("https://", "data.example", "no address", False),
        ("https://data.example", "data.example", "10.0.0.7", True),  # an operator's own network
        ("https://data.example", "data.example", "127.0.0.1", False),
        ("https://data.example", "data.example", "169.254.169.254", False),
        ("https://data.example", "other.example", "10.0.0.7", False),
        ("http://localhost:8000", "localhost", "127.0.0.1", True),
        ("http://127.0.0.1:8000", "127.0.0.1", "127.0.0.1", True),
        ("http://[::1]:8000", "::1", "::1", True),
        ("http://169.254.1.1", "169.254.1.1", "169.254.1.1", True),
    ],
)
def test_an_address_of_this_machine_or_network_has_to_be_named(prefixes, host, address, allowed):
    reach = Reach.of(prefixes)
    if allowed:
        reach.check_address(host, address)
    else:
        with pytest.raises(ReachError, match="which has an address of this machine"):
            reach.check_address(host, address)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "[::1]", "[::ffff:127.0.0.1]"])
def test_a_prefix_of_any_host_allows_no_address_of_the_network(host):
    assert not Reach.of("http://").allows(f"http://{host}/x.npz")


@pytest.fixture
def server(tmp_path):
    """Redirects `/sets/to?URL`, and serves a data set at any other path."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    np.savez(tmp_path / "x.npz", a=rng.normal(size=(60, 3)), b=rng.normal(size=(60, 2)), y=y)
    content = (tmp_path / "x.npz").read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path, _, target = self.path.partition("?")
            seen.append(path)
            self.send_response(302 if path == "/sets/to.npz" else 200)
            self.send_header("Location", target)
            self.send_header("Content-Length", str(0 if target else len(content)))
            self.end_headers()
            if self.command == "GET" and not target:
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815  # so it is called

        def log_message(self, *_):
            pass

    seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = seen
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_redirect_leads_no_further_than_the_prefixes(server):
    base = f"http://127.0.0.1:{server.server_port}"
    reach = Reach.of(f"{base}/sets")
    assert read(f"{base}/sets/x.npz", reach=reach).rows == 60
    assert read(f"{base}/sets/to.npz?/sets/x.npz", reach=reach).rows == 60
    for target in ("/secret.npz", f"{base}/secret.npz", "/sets/../secret.npz", "//localhost/x.npz"):
        with pytest.raises(DataError, match="which may not be reached from here"):
            read(f"{base}/sets/to.npz?{target}", reach=reach)
    with pytest.raises(DataError, match="which may not be reached from here"):
        read(f"{base}/secret.npz", reach=reach)
    assert "/secret.npz" not in server.seen


def test_a_name_is_no_way_to_an_address_that_is_not_named(server, monkeypatch):
    def resolved(*_, **__):
        return [(2, 1, 6, "", ("127.0.0.1", server.server_port))]

    async def get():
        async with Reach.of("http://").client() as client:
            await client.get(f"http://data.example:{server.server_port}/x.npz")

    monkeypatch.setattr("socket.getaddrinfo", resolved)
    with pytest.raises(aiohttp.ClientConnectorError) as caught:
        asyncio.run(get())
    assert "has an address of this machine" in explain(caught.value)
    assert server.seen == []
