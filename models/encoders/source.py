"""Code and weights that users bring: where they are found, and their identity; needs no torch.

The folder of the command comes after all that is installed. A folder of a user's is never put
first: a `queue.py` in it would take the place of Python's own.
"""

import ast
import hashlib
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import suppress
from difflib import get_close_matches
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from pathlib import Path

from tuner.models.errors import EncoderModuleError

PREFIX = "hf:"  # of a pretrained model

_LOADERS = ((ExtensionFileLoader, EXTENSION_SUFFIXES), (SourceFileLoader, SOURCE_SUFFIXES))
_THIS_PROGRAM = __name__.partition(".")[0]
_INSTALLED = tuple(
    Path(folder).resolve()
    for folder in (
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
    )
)


def search_path() -> tuple[str, ...]:
    """Return the absolute folders that this process looks in, and the working directory."""
    return tuple(dict.fromkeys(str(Path(folder).absolute()) for folder in (*sys.path, "")))


def extend_search_path(folders: Iterable[str]) -> None:
    """Look in these, too, after all others."""
    sys.path.extend(folder for folder in folders if folder not in sys.path)


def with_absolute_path(kind: str) -> str:
    """Return `hf:PATH` for processes in other folders; `~` is left to each machine."""
    path = kind.removeprefix(PREFIX)
    return kind if path.startswith("~") else f"{PREFIX}{Path(path).absolute()}"


def folder_of(kind: str) -> Path:
    """Return the folder of `hf:PATH`.

    Raises:
        EncoderModuleError: If there is no model in it.
    """
    folder = Path(kind.removeprefix(PREFIX)).expanduser()
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise EncoderModuleError(
                f"encoder {kind}: there is no {name} in {folder}; write the folder with "
                "model.save_pretrained(folder), on every node that trains"
            )
    return folder


def folder_digest(kind: str) -> str:
    """SHA-256 of a pretrained model: other weights are another question.

    Raises:
        EncoderModuleError: If there is no model in the folder.
    """
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        with (folder_of(kind) / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def source_digest(kind: str) -> str:
    """SHA-256 of what defines a user's encoder.

    Of `MODULE:NAME` that is the file of the module, and of every module that it imports anywhere
    in its code, and so on; but of none that is installed: those are the environment's. Nothing is
    run to find out. Of `hf:PATH` it is the folder.

    Raises:
        EncoderModuleError: If the module cannot be found, has nothing of that name, or a file of it
            is no Python.
    """
    if kind.startswith(PREFIX):
        return folder_digest(kind)
    module, _, name = kind.partition(":")
    digest = module_digest(module, f"encoder {kind}")
    check_defined(module, name, f"encoder {kind}")
    return digest


def module_digest(module: str, user: str) -> str:
    """SHA-256 of a module and of all that it imports and is not installed.

    Args:
        module: Its name.
        user: Who wants it, in words.

    Raises:
        EncoderModuleError: If it cannot be found, or a file of it is no Python.
    """
    files = _files(module, user)
    if module not in files:
        raise EncoderModuleError(f"{user}: {_not_found_words(module)}")
    if len(files) == 1:
        return hashlib.sha256(files[module]).hexdigest()
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def check_defined(module: str, name: str, user: str) -> None:
    """Do nothing unless the file of a module tells that nothing in it is called so.

    Nothing is run to find out: what a module makes at its import, or takes from others by `*`, is
    not seen, and then nothing is said.

    Args:
        module: Its name, of one that `module_digest` finds.
        name: Of a function or a class, also of one in a class: `Trainer.fit`.
        user: Who wants it, in words.

    Raises:
        EncoderModuleError: If there is none, with the nearest that there is.
    """
    spec = _spec(module)
    path = Path(spec.origin or "") if spec else Path()
    first = name.partition(".")[0]
    if path.suffix != ".py" or (path.name == "__init__.py" and _below_is(spec, first)):
        return
    bound = _bound(ast.parse(path.read_bytes()))
    if bound is None or first in bound:
        return
    nearest = get_close_matches(first, bound, 1) or sorted(bound)[:5]
    there = f"; there is {', '.join(nearest)}" if nearest else ""
    raise EncoderModuleError(f"{user}: {module!r} has no {first!r}{there}")


def _below_is(package: ModuleSpec | None, name: str) -> bool:
    return package is not None and _below(package, f"{package.name}.{name}") is not None


def _bound(tree: ast.Module) -> set[str] | None:
    """Return the names that a file binds at its top level; None if it may bind others unseen."""
    bound: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        match node := waiting.pop():
            case ast.FunctionDef(name="__getattr__") | ast.Call(func=ast.Name("globals" | "exec")):
                return None
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                bound.add(node.name)
                continue  # what is inside is bound there
            case ast.Import() | ast.ImportFrom():
                names = [alias.asname or alias.name.partition(".")[0] for alias in node.names]
                if "*" in names:
                    return None
                bound.update(names)
            case ast.Name(ctx=ast.Store()):
                bound.add(node.id)
        waiting += ast.iter_child_nodes(node)
    return bound


def _not_found_words(module: str) -> str:
    """Say that a module of a user's is not found, or that one that is installed hides it."""
    first = module.partition(".")[0]
    with suppress(ValueError):
        spec = importlib.util.find_spec(first)
        if spec is not None and (first == _THIS_PROGRAM or _is_installed(spec)):
            where = f" ({spec.origin})" if spec.origin and Path(spec.origin).is_file() else ""
            return (
                f"{first!r} is an installed module{where}, whose files are no part of a study; "
                "import it in a module of your own, or rename yours if it is hidden by that"
            )
    return (
        f"cannot find the file of {module!r}; it has to lie in the working directory or on "
        "PYTHONPATH"
    )


def _files(module: str, user: str) -> dict[str, bytes]:
    """Return the files of a module and of all that it imports, by the names of modules."""
    files: dict[str, bytes] = {}
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        spec = _spec(name)
        if spec is None:
            continue
        waiting += [name.rpartition(".")[0]] if "." in name else []  # its package runs before it
        path = Path(spec.origin or "")
        if path.is_file():
            files[name] = path.read_bytes()
            if path.suffix == ".py":
                waiting += _imports(files[name], spec, f"{user}: {path}")
    return files


def _spec(name: str) -> ModuleSpec | None:
    """Find a module that is not installed, without running the packages that it lies in."""
    first, *parts = name.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except ValueError:  # of what was not loaded from a file, such as a notebook
        return None
    if spec is None or first == _THIS_PROGRAM or _is_installed(spec):
        return None
    for depth in range(len(parts)):
        spec = _below(spec, ".".join((first, *parts[: depth + 1])))
        if spec is None:
            return None
    return spec


def _below(package: ModuleSpec, name: str) -> ModuleSpec | None:
    """Find a module of a package by its files alone."""
    places = [str(place) for place in package.submodule_search_locations or ()]
    specs = [FileFinder(place, *_LOADERS).find_spec(name) for place in places]
    present = [spec for spec in specs if spec is not None]
    return next((spec for spec in present if spec.origin), present[0] if present else None)


def _is_installed(spec: ModuleSpec) -> bool:
    if spec.origin in ("built-in", "frozen"):
        return True
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    return any(
        Path(place).resolve().is_relative_to(root) for place in places for root in _INSTALLED
    )


def _imports(code: bytes, spec: ModuleSpec, where: str) -> Iterator[str]:
    """Yield the absolute names that may be modules in what a file imports."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError) as error:
        raise EncoderModuleError(f"{where} cannot be read as Python: {error}") from None
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                base = _absolute("." * node.level + (node.module or ""), spec)
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(str(name))]):
                yield name


def _absolute(name: str, spec: ModuleSpec) -> str:
    try:
        return importlib.util.resolve_name(name, spec.parent)
    except ImportError:  # above the first package: it will fail when it is run
        return name.lstrip(".")
