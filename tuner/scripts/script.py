"""A user's training code: a function of a module, or any command."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel

PLACEHOLDERS = ("{strength}", "{seed}", "{out}")


class Script(BaseModel, frozen=True):
    """Code that trains once for a λ and a seed; of `function` and `command` it is one.

    Attributes:
        function: `MODULE:NAME`, called with a `tuner.Trial`.
        command: Words of a command; `{strength}`, `{seed}` and `{out}` in them are put in.
        folder: Absolute: where it is run.
        digest: SHA-256 of the code and of how it is called: what is run.
    """

    function: str | None = None
    command: tuple[str, ...] | None = None
    folder: str
    digest: str

    @classmethod
    def of_function(cls, function: str | Callable[..., Any], folder: Path | None = None) -> Self:
        """Make the script of a function, or of its name as `MODULE:NAME`.

        Raises:
            SpecError: If there is no such function that another process can import.
        """
        name = (
            function
            if isinstance(function, str)
            else f"{function.__module__}:{function.__qualname__}"
        )
        return cls(function=name, folder=str((folder or Path()).absolute()), digest=name)

    @classmethod
    def of_command(cls, words: Sequence[str], folder: Path | None = None) -> Self:
        """Make the script of a command.

        Raises:
            SpecError: If it takes no λ or no seed.
        """
        words = tuple(words)
        return cls(command=words, folder=str((folder or Path()).absolute()), digest=" ".join(words))

    @property
    def name(self) -> str:
        """How it is called where people read it."""
        return self.function or " ".join(self.command or ())
