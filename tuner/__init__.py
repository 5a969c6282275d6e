"""How λ* is found: the search, the choice, the record of it, and the commands around it."""

from typing import Any

__all__ = ["Client"]


def __getattr__(name: str) -> Any:
    """Load the client where it is asked for: a study needs no HTTP."""
    if name == "Client":
        from tuner.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
