"""The process of a training that is a function.

Started as `python -P -m tuner.scripts.door MODULE:NAME FOLDER…`: modules are looked for in these
folders, after all that is installed.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from tuner.errors import ScriptError
from tuner.models.encoders.source import extend_search_path
from tuner.scripts.scores import FILE
from tuner.scripts.trial import Trial


def main() -> None:
    """Call the function with the trial of the environment.

    Raises:
        ScriptError: If it cannot be called, or returns scores in place of reporting them.
    """
    name, *folders = sys.argv[1:]
    del sys.argv[1:]  # a module that parses arguments as it is imported is given none
    extend_search_path(folders)
    trial = Trial.of_environment()
    if trial is None:
        raise ScriptError("a training is started by a study: tuner tune MODULE:NAME")
    returned = found(name)(trial)
    if returned is not None and not (trial.folder / FILE).exists():
        raise ScriptError(_returned_words(name, returned))


def _returned_words(name: str, returned: Any) -> str:
    names = list(returned)[:3] if isinstance(returned, Mapping) else []
    scores = ", ".join(f"{name}=…" for name in names if isinstance(name, str)) or "acc=correct"
    return (
        f"{name.rpartition(':')[2]} returns a {type(returned).__name__} and reports nothing. Call "
        f"trial.report({scores}) in it, with one score per validation row"
    )


def found(name: str) -> Callable[[Trial], Any]:
    """Return the function that is called `MODULE:NAME`.

    Raises:
        ScriptError: If there is none that takes a trial alone.
    """
    module_name, _, attribute = name.partition(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ScriptError(
            f"cannot find the module {module_name!r}; it has to lie in the working directory or on "
            "PYTHONPATH"
        ) from None
    except ImportError as error:
        if "no known parent package" not in str(error):
            raise
        raise ScriptError(
            f"{module_name!r} imports from its package (from .), and was found outside of it. Go "
            f"to the folder above the package, and name both: PACKAGE.{name}"
        ) from None
    function: Any = module
    for part in attribute.split("."):
        function = getattr(function, part, None)
    if not callable(function):
        names = [n for n, value in vars(module).items() if inspect.isfunction(value)]
        there = f"; there is {', '.join(names[:5])}" if names else ""
        raise ScriptError(f"{module_name!r} has no function {attribute!r}{there}")
    try:
        inspect.signature(function).bind(object())
    except TypeError:
        raise ScriptError(
            f"{attribute}{inspect.signature(function)} is called with one argument, the trial: "
            f"write it as def {attribute}(trial)"
        ) from None
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise ScriptError(
            f"{attribute} is async or a generator, which a call does not run. Make it a plain one"
        )
    return function  # type: ignore[no-any-return]  # anything that can be called so


if __name__ == "__main__":
    main()
