"""Which array of a source plays which role."""

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from tuner.data.options import DataOptions
from tuner.data.typing import Array, Arrays
from tuner.data.validation.findings import Findings, listing

BY_FILE = "split (by file names)"
NO_SPLIT = "none"  # the choice that a split is made
_MODALITIES_AND_LABEL = ("a", "b", "y")
_USES = {
    "a": "A",
    "b": "B",
    "y": "label",
    "split": "split",
    "group": "groups",
    "a_mask": "mask of A",
    "b_mask": "mask of B",
    "a_lengths": "lengths of A",
    "b_lengths": "lengths of B",
}
_LOOKS = {  # names that people give, and what such an array would hold
    "group": (
        r"(groups?|subject|patient|participant|speaker|person|people|session|site|user|author|family"
        r"|hospital|scanner|document|doc|video|image|cluster)s?([_-]?(ids?|codes?))?|[ps]ids?",
        "which rows belong together (they then stay in one split)",
    ),
    "split": (
        r"(cv[_-]?)?(splits?|folds?)|partitions?|subsets?|set|(is|in)[_-]?(train(ing)?"
        r"|val(id(ation)?)?|dev|test(ing)?|hold[_-]?out)([_-]?(set|mask))?|(train|val|test)[_-]mask",
        "which rows are for training or for test",
    ),
}
_LABEL = "(labels?|targets?|class(es)?)([_-]?ids?)?|outcome"


@dataclass(frozen=True, kw_only=True)
class Roles:
    """The arrays that a data set is made of.

    Attributes:
        names: Of the arrays, by role: "a", "b", "y", and those of the others that may be there. One
            may be a pattern, "img_*", of the names of columns that are stacked.
        required: The roles whose array has to be there.
    """

    names: Mapping[str, str]
    required: frozenset[str]

    @classmethod
    def of(cls, options: DataOptions, defaults: Mapping[str, str] | None = None) -> "Roles":
        """Take what the options choose, else the defaults, else arrays of the usual names.

        An array that was chosen for one role does not also play the one that its name suggests,
        and where lengths are chosen there is no mask.
        """
        given = {role: name for role in _USES if (name := getattr(options, role))}
        no_split = given.get("split") == NO_SPLIT and given.pop("split")
        names = {role: role for role in _MODALITIES_AND_LABEL} | dict(defaults or {}) | given
        if no_split:
            names.pop("split", None)
        usual = {"split": "split", "group": "group"} | {
            f"{side}_mask": f"{names[side]}_mask" for side in "ab" if f"{side}_lengths" not in names
        }
        taken = set(names.values())
        rest = {role: name for role, name in usual.items() if name not in taken}
        if no_split:
            del rest["split"]
        return cls(names=rest | names, required=frozenset(names))

    def among(self, available: Collection[str]) -> "Roles":
        """Take the split that names of files tell, where no array is one."""
        usual = self.names.get("split")
        if BY_FILE not in available or usual is None or usual in available:
            return self
        return replace(self, names={**self.names, "split": BY_FILE})

    def name(self, role: str) -> str:
        """Name of the array that plays a role, or would if there were one."""
        return self.names.get(role, role)

    def array(self, role: str, arrays: Arrays) -> Array | None:
        """Return the array that plays a role; None if there is none."""
        return arrays.get(self.names[role]) if role in self.names else None

    @property
    def uses(self) -> dict[str, str]:
        """What arrays are used for, in words, by their names."""
        return {name: _USES[role] for role, name in self.names.items()}

    def is_modality(self, name: str) -> bool:
        """Whether an array is A or B."""
        return name in (self.names["a"], self.names["b"])

    def members(self, name: str, available: Iterable[str]) -> list[str]:
        """Return what is available by a name, itself or, of a pattern, all that match it, in order.

        What has a role by its own name is no part of a pattern.
        """
        if name in (names := list(available)):
            return [name]
        taken = set(self.names.values())
        return [each for each in names if each not in taken and fnmatchcase(each, name)]

    def use(self, name: str) -> str | None:
        """What an array is used for, in words; None if it is not."""
        if name in self.uses:
            return self.uses[name]
        return next((use for part, use in self.uses.items() if self.members(part, [name])), None)

    def present_in(self, available: Collection[str], findings: Findings) -> list[str]:
        """Return the wanted names that are available, and note every required one that is not."""
        self._check_one_role_each(findings)
        for name in dict.fromkeys(self.names[role] for role in _USES if role in self.required):
            if not self.members(name, available):
                findings.error(self._missing(name, available))
        if not findings.errors:  # else it is not clear yet which arrays are used
            self._warn_of_unused(available, findings)
        wanted = (self.names[role] for role in _USES if role in self.names)
        return [name for name in dict.fromkeys(wanted) if self.members(name, available)]

    def _check_one_role_each(self, findings: Findings) -> None:
        roles_of: dict[str, list[str]] = {}
        for role in _USES:
            if role in self.required:
                roles_of.setdefault(self.names[role], []).append(role)
        for name, roles in roles_of.items():
            if len(roles) > 1:
                findings.error(
                    f"array {name!r} is chosen as {' and as '.join(roles)}: these have to be "
                    f"different arrays. Choose others with {_flags(roles)}."
                )
        for side in "ab":
            if {f"{side}_mask", f"{side}_lengths"} <= self.required:
                findings.error(
                    f"both --{side}-mask and --{side}-lengths are given. Leave out one of them."
                )

    def _missing(self, name: str, available: Collection[str]) -> str:
        if not available:
            return f"array {name!r} is missing: there are no arrays at all."
        near = _near(name, available)
        if near is None and name == "y":
            near = next((each for each in available if re.fullmatch(_LABEL, each.lower())), None)
        hint = f" Did you mean {near!r}?" if near else ""
        if patterns := _patterns(available):
            hint += f" Columns that belong together are chosen as {listing(patterns)}."
        roles = [role for role in _USES if role in self.required and self.names[role] == name]
        flags = _flags(_MODALITIES_AND_LABEL if set(roles) <= set("aby") else roles)
        return (
            f"array {name!r} is missing; there are {listing(sorted(available), limit=20)}.{hint} "
            f"Choose arrays with {flags}."
        )

    def _warn_of_unused(self, available: Collection[str], findings: Findings) -> None:
        """Say what arrays that are not used look like, by their names."""
        for name in sorted(name for name in available if self.use(name) is None):
            for role, what in self._looks_like(name).items():
                if self.names.get(role) not in available:
                    findings.warn(
                        f"array {name!r} is not used. If it holds {what}, choose it with "
                        f"{_flags([role])} {name}."
                    )

    def _looks_like(self, name: str) -> dict[str, str]:
        """What an array would hold by its name, by role."""
        plain = name.lower()
        found = {role: what for role, (look, what) in _LOOKS.items() if re.fullmatch(look, plain)}
        for side in "ab":
            own = re.escape(self.names[side].lower())
            has_steps = {f"{side}_mask", f"{side}_lengths"} & self.required
            kind = "(padding|attention|key[_-]padding)[_-]?"
            mask = f"{own}[_-]?({kind})?masks?|({kind})?masks?[_-]?{own}"
            if own.endswith("input_ids"):  # as tokenizers call them
                mask += f"|{own.removesuffix('input_ids')}attention_mask"
            if not has_steps and re.fullmatch(mask, plain):
                found[f"{side}_mask"] = f"which steps of {self.names[side]!r} are real"
            if not has_steps and re.fullmatch(
                f"{own}[_-]?(lens?|lengths?)|(lens?|lengths?)[_-]?{own}", plain
            ):
                found[f"{side}_lengths"] = f"how many steps of {self.names[side]!r} are real"
        return found


def _patterns(available: Iterable[str]) -> list[str]:
    """Patterns of the names that differ in a number at their end alone: "img_*"."""
    counts = Counter(name.rstrip("0123456789") for name in available if name[-1:].isdecimal())
    return [f"{stem}*" if stem else "[0-9]*" for stem, number in counts.items() if number > 1]


def _near(name: str, available: Iterable[str]) -> str | None:
    """The available name that was most likely meant; case does not tell names apart."""
    by_plain = {each.lower(): each for each in available}
    near = difflib.get_close_matches(name.lower(), by_plain, n=1)
    return by_plain[near[0]] if near else None


def _flags(roles: Iterable[str]) -> str:
    flags = [f"--{role.replace('_', '-')}" for role in roles]
    return f"{', '.join(flags[:-1])} and {flags[-1]}" if len(flags) > 1 else flags[0]
