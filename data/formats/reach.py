"""Where data may be fetched from, and messages sent to, for strangers: prefixes and addresses.

A prefix alone does not bound what a URL reaches: its server may redirect, and a name may have the
address of a machine that only this one sees. Here each hop is checked, and each address, at the
moment that it is connected to.
"""

import ipaddress
import socket
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, unquote, urlsplit

if TYPE_CHECKING:
    import aiohttp

_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNQUOTINGS = 8  # more often quoted than any server would undo


class ReachError(PermissionError):
    """A URI, or the address behind it, is none that may be reached."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What may be reached: all that lies under some prefixes.

    Addresses of this machine and of its network are reached only by what a prefix names: a private
    address by its host's name, one of this machine or of its link by the address itself, or
    `localhost`. A prefix without a host, `https://`, reaches public addresses alone.

    Attributes:
        prefixes: Beginnings of URIs. `s3://data` allows `s3://data/x`, but neither
            `s3://data-of-others/x` nor `s3://data/../x`.
    """

    prefixes: tuple[str, ...]

    @classmethod
    def of(cls, prefixes: str) -> Self:
        """Take prefixes that are separated by commas."""
        return cls(prefixes=tuple(filter(None, (part.strip() for part in prefixes.split(",")))))

    def allows(self, uri: str) -> bool:
        """Whether a URI lies under a prefix and stays there; an address of its own counts, too."""
        if not _stays(uri):
            return False
        try:
            parts = urlsplit(uri)
            host, _ = parts.hostname, parts.port  # a port that is no number raises
        except ValueError:
            return False
        if parts.scheme in _PORTS and not host:
            return False
        under = any(_is_under(uri, parts, prefix) for prefix in self.prefixes)
        return under and (_literal(host) is None or self._may_connect(str(host), str(host)))

    def check(self, uri: str) -> None:
        """Do nothing if a URI may be reached.

        Raises:
            ReachError: If not.
        """
        if not self.allows(uri):
            raise ReachError(f"leads to {uri[:200]!r}, which may not be reached from here.")

    def check_address(self, host: str, address: str) -> None:
        """Do nothing if the address of a host may be connected to.

        Raises:
            ReachError: If not.
        """
        if not self._may_connect(host, address):
            raise ReachError(
                f"is at {host!r}, which has an address of this machine or its network ({address}); "
                "those are reached only where the allowed prefixes name them."
            )

    def _may_connect(self, host: str, address: str) -> bool:
        found = _literal(address)
        if found is None:
            return False
        if found.is_global and not found.is_multicast:
            return True
        if host.lower() not in {urlsplit(prefix).hostname for prefix in self.prefixes}:
            return False
        is_near = found.is_loopback or found.is_link_local or found.is_unspecified
        return _literal(host) is not None or host.lower() == "localhost" or not is_near

    def client(self, **options: Any) -> "aiohttp.ClientSession":
        """Return a client of HTTP that reaches nothing else, after redirects neither.

        Args:
            options: Of `aiohttp.ClientSession`.
        """
        from aiohttp import ClientSession, TCPConnector

        return ClientSession(
            connector=TCPConnector(resolver=_resolver(self)),
            middlewares=(_checking(self),),
            **options,
        )


def _stays(uri: str) -> bool:
    """Whether a URI has nothing that leads elsewhere than it seems to, however it is quoted."""
    plain = uri
    for _ in range(_UNQUOTINGS):
        plain, before = unquote(plain), plain
        if plain == before:
            break
    else:
        return False
    plain = plain.replace("\\", "/")
    odd = any(unicodedata.category(letter) in ("Cc", "Cs", "Zs", "Zl", "Zp") for letter in uri)
    steps_back = {".", ".."} & set(plain.partition("://")[2].split("/"))
    is_chain = "::" in plain.partition("://")[2].partition("/")[2]  # fsspec would open them all
    has_user = "@" in plain.partition("://")[2].partition("/")[0]
    return not (odd or steps_back or is_chain or has_user)


def _is_under(uri: str, parts: SplitResult, prefix: str) -> bool:
    allowed = urlsplit(prefix)
    if allowed.scheme not in _PORTS:
        return uri.startswith(f"{prefix.rstrip('/')}/")
    if parts.scheme != allowed.scheme:
        return False
    port = _PORTS[allowed.scheme]
    same_host = (parts.hostname, parts.port or port) == (allowed.hostname, allowed.port or port)
    below = parts.path.startswith(f"{allowed.path.rstrip('/')}/")
    return (allowed.hostname is None or same_host) and below


def _literal(host: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host is, if it is one; of an IPv4 address within IPv6, that."""
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return None
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address


def _checking(reach: Reach) -> "aiohttp.ClientMiddlewareType":
    async def check(
        request: "aiohttp.ClientRequest", follow: "aiohttp.ClientHandlerType"
    ) -> "aiohttp.ClientResponse":
        reach.check(str(request.url))  # of each redirect, too
        return await follow(request)

    return check


def _resolver(reach: Reach) -> "aiohttp.abc.AbstractResolver":
    from aiohttp import DefaultResolver

    class Checked(DefaultResolver):  # type: ignore[misc, valid-type]  # one of two classes
        """Gives addresses that may be connected to, and no other."""

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> Any:
            found = await super().resolve(host, port, family)
            for each in found:
                reach.check_address(host, each["host"])
            return found

    return Checked()
