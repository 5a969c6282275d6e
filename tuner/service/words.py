"""The words of an interface: messages are written for the command, and said for others here.

Whoever finds something wrong names options as the command does: `--task regression`. Over REST
that is `"task": "regression"`, as a spec has it, and on the page “Task”: regression.
"""

import re
from collections.abc import Iterable
from typing import Literal

Words = Literal["rest", "page"]
_TITLES = {
    "a": "Array of A",
    "b": "Array of B",
    "y": "Label",
    "trials": "λs tried",
    "replicates": "Seeds at every λ",
    "confirm_replicates": "Seeds that confirm",
    "max_lambda": "Largest λ",
    "missing": "Stands for a missing label",
    "cpus": "CPUs",
    "gpus": "GPUs",
    "a_mask": "Mask of A",
    "b_mask": "Mask of B",
    "a_lengths": "Lengths of A",
    "b_lengths": "Lengths of B",
    "a_layout": "Axes of A's images",
    "b_layout": "Axes of B's images",
    "a_size": "Size of A's images",
    "b_size": "Size of B's images",
    "encoder_a": "Encoder of A",
    "encoder_b": "Encoder of B",
}
# An option of the command, and what follows it if that is a value and no word of the sentence.
_VALUES = (
    "regression classification none auto accuracy balanced_accuracy macro_f1 mae r2 nhwc nhw N"
)
_OPTION = re.compile(
    r"(?<![\w-])--(?P<option>[a-z][a-z-]*[a-z]|[a-z])"
    rf"(?:[ =](?P<value>{_VALUES.replace(' ', '|')}|\d[\d.x]*\d|\d+|'[^']*')(?![\w-]))?"
)


def title(option: str) -> str:
    """What an option is called on the page, and in the schema of OpenAPI."""
    return _TITLES.get(option, option.replace("_", " ").capitalize())


def said(text: str, words: Words) -> str:
    """Say a message of the command in the words of another interface."""

    def instead(match: re.Match[str]) -> str:
        option, value = match["option"].replace("-", "_"), match["value"]
        if words == "page":
            name, quoted = f"“{title(option)}”", value
        else:
            name, quoted = f'"{option}"', value and _as_json(value)
        return name if value is None else f"{name}: {quoted}"

    return _OPTION.sub(instead, text)


def all_said(texts: Iterable[str], words: Words) -> list[str]:
    """Say messages in the words of another interface."""
    return [said(text, words) for text in texts]


def _as_json(value: str) -> str:
    is_number = re.fullmatch(r"\d+(\.\d+)?|N", value) is not None
    return value if is_number else f'"{value.strip(chr(39))}"'
