"""A user's training code: a function of a module, or any command; and its identity."""

import hashlib
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, Self

from pydantic import BaseModel, model_validator

from tuner.errors import SpecError
from tuner.models.encoders.source import check_defined, module_digest
from tuner.models.errors import EncoderModuleError

STRENGTH, SEED, OUT = "{strength}", "{seed}", "{out}"
_CODE = {".py", ".sh", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".json", ".jsonnet", ".mk"}
_MAX_BYTES = 2**24  # a file of more is data
_WORD = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")


class Script(BaseModel, frozen=True):
    """Code that trains once for a λ and a seed: a function or a command.

    Attributes:
        function: `MODULE:NAME`, called with a `tuner.Trial`.
        command: Words of a command; `{strength}`, `{seed}` and `{out}` in them are put in.
        folder: Absolute: where it is run.
        digest: SHA-256 of the code and of how it is called, as of when the script was made.
    """

    function: str | None = None
    command: tuple[str, ...] | None = None
    folder: str
    digest: str

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.function is None) == (self.command is None):
            raise ValueError("a script is a function or a command")
        return self

    @classmethod
    def of_words(cls, words: Sequence[str], folder: Path | None = None) -> Self:
        """Make a script of what is typed: `MODULE:NAME` alone, or a command.

        Raises:
            SpecError: As `of_function` and `of_command`.
        """
        if len(words) == 1 and _WORD.fullmatch(words[0]):
            return cls.of_function(words[0], folder)
        if len(words) == 1 and (meant := _function_meant(words[0], folder or Path())):
            raise SpecError(meant)
        return cls.of_command(words, folder)

    @classmethod
    def of_function(cls, function: str | Callable[..., Any], folder: Path | None = None) -> Self:
        """Make the script of a function of a module, or of its name.

        Args:
            function: The function, or `MODULE:NAME`.
            folder: Where it is run; the working directory, or that of the file that is run.

        Raises:
            SpecError: If another process cannot import it, as far as its file tells: nothing is
                run to find out.
        """
        place = (folder or Path()).absolute()
        name = function if isinstance(function, str) else _name(function)
        module, _, attribute = name.partition(":")
        if not _WORD.fullmatch(name):
            raise SpecError(
                f"{name!r} is no function: write MODULE:NAME, as my_train:train for def "
                "train(trial) in my_train.py"
            )
        if module.endswith(".py"):
            raise SpecError(f"{name} names a file: write {name.replace('.py:', ':', 1)}")
        with _looking_in(place, at=len(sys.path)):
            try:
                digest = module_digest(module, name)
                check_defined(module, attribute, name)
            except EncoderModuleError as error:
                raise SpecError(str(error)) from None
        return cls(function=name, folder=str(place), digest=_sha256(name, digest))

    @classmethod
    def of_command(cls, words: Sequence[str], folder: Path | None = None) -> Self:
        """Make the script of a command.

        Args:
            words: Of the command; `{strength}`, `{seed}` and `{out}` in them are put in.
            folder: Where it is run; the working directory.

        Raises:
            SpecError: If it is told no λ or no seed, and does not ask for them.
        """
        place = (folder or Path()).absolute()
        if not words:
            raise SpecError("there is no command: write it after --, as -- python train.py …")
        named = sorted({w for w in words if _is_code(place / w) or _is_program(place, w)})
        _check_placeholders(words, [(place / name).read_bytes() for name in named])
        files = sorted({*named, *_tracked(place)})
        contents = [hashlib.sha256((place / name).read_bytes()).hexdigest() for name in files]
        digest = _sha256(*words, *files, *contents, *_imported(named, place))
        return cls(command=tuple(words), folder=str(place), digest=digest)

    @property
    def name(self) -> str:
        """How it is called where people read it."""
        return self.function or " ".join(self.command or ())


def _function_meant(word: str, folder: Path) -> str | None:
    """Say how the function is named that one word means by its file; None if it means none.

    A file without a name may be a command: if it takes no λ, that is what is said of it.
    """
    path, _, name = word.partition(":")
    file = Path(path if path.endswith(".py") else f"{path}.py")
    is_file = _is_code(folder / file)
    if name and (path.endswith(".py") or is_file):
        said = f"{word} names a file: "
    elif is_file and not path.endswith(".py"):
        said, name = f"{word} names a module, and no function of it: ", "train"
    else:
        return None
    there = "" if file.parent == Path() else f"go to the folder {file.parent} and "
    module = re.sub(r"\W", "_", file.stem)
    renamed = "" if module == file.stem else f"rename {file.name} to {module}.py and "
    return f"{said}{there}{renamed}write {module}:{name}"


def _name(function: Callable[..., Any]) -> str:
    """Return the name by which another process imports a function.

    Raises:
        SpecError: If it has none.
    """
    module, name = function.__module__, getattr(function, "__qualname__", "")
    if not isinstance(getattr(function, "__self__", None), (type, ModuleType, NoneType)):
        raise SpecError(
            f"{name} is called of an object, which another process does not have: write a function "
            "that makes the object, as def train(trial) in my_train.py, at its top level"
        )
    if module == "__main__":
        main = sys.modules[module]
        file = getattr(main, "__file__", None)
        module = main.__spec__.name if main.__spec__ else Path(file).stem if file else ""
    if not module or not name or "<" in name:
        raise SpecError(
            f"{name or function!r} cannot be imported by another process: write it in a file, as "
            "def train(trial) in my_train.py, at its top level (a cell of a notebook that begins "
            "with %%writefile my_train.py writes one)"
        )
    return f"{module}:{name}"


@contextmanager
def _looking_in(folder: Path, *, at: int) -> Iterator[None]:
    """Look for modules in a folder, too, at a place among the others."""
    sys.path.insert(at, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _check_placeholders(words: Sequence[str], files: Sequence[bytes]) -> None:
    """Do nothing if a command is told λ and seed, or a file of it asks `tuner` for them."""
    asks = any(re.search(rb"\btuner\b|TUNER_", content) for content in files)
    for placeholder, what, flag in ((STRENGTH, "λ", "--lam"), (SEED, "its seed", "--seed")):
        if asks or any(placeholder in word for word in words):
            continue
        strange = re.findall(r"\{[a-z_]+\}", " ".join(words))
        others = [word for word in strange if word not in (STRENGTH, SEED, OUT)]
        meant = f"; {others[0]} is not known" if others else ""
        raise SpecError(
            f"the command is not told {what}: write {placeholder} where it takes it, as {flag} "
            f"{placeholder}{meant}. A script that asks tuner.current_trial() has to be a file of "
            "the command"
        )


def _is_code(path: Path) -> bool:
    try:
        return path.suffix in _CODE and path.is_file() and path.stat().st_size <= _MAX_BYTES
    except OSError:  # a word that is too long for a name
        return False


def _is_program(folder: Path, word: str) -> bool:
    """Whether a word names a script of the user's in the folder, whatever it is called.

    Those of a virtual environment in it are installed.
    """
    path = folder / word
    try:
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            return False
        if (path.parent.parent / "pyvenv.cfg").exists():
            return False
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except (OSError, ValueError):  # a word that is no name
        return False


def _tracked(folder: Path) -> list[str]:
    """Return the code in a folder that git keeps, as it lies there now; none without git."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--recurse-submodules"],  # noqa: S607  # where the user has it
            cwd=folder,
            capture_output=True,
            timeout=60,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    names = listed.decode(errors="surrogateescape").split("\0")
    return [name for name in names if name and _is_code(folder / name)]


def _imported(files: Sequence[str], folder: Path) -> Iterator[str]:
    """Yield digests of what the Python files of a command import from beside them.

    What cannot be found or read is left: the training will say so.
    """
    for path in (folder / name for name in files if name.endswith(".py")):
        with _looking_in(path.parent, at=0), suppress(EncoderModuleError):  # as Python does
            yield module_digest(path.stem, path.name)


def _sha256(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
