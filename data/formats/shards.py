"""Which files a folder or a pattern stands for, in their order."""

import glob
import os
import re
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath

from tuner.data.dataset import Split
from tuner.data.errors import DataError
from tuner.data.formats.foreign import listing_of_images
from tuner.data.formats.remote import explain
from tuner.data.formats.sources import file_name, is_uri
from tuner.data.validation.division.given import SPLIT_WORDS
from tuner.data.validation.findings import Findings, listing


def is_pattern(source: str) -> bool:
    """Whether a source names files by a pattern, "part-*.parquet" or "s3://bucket/*.parquet"."""
    if is_uri(source):
        return "*" in source and not source.startswith(("http://", "https://"))
    return any(letter in source for letter in "*?[") and not os.path.lexists(source)


def data_name(source: str) -> str:
    """Name of the data: a file's without its suffix, or the folder's."""
    if is_pattern(source):
        before = re.split(r"[*?[]", source)[0].rpartition("/")[0]
        return file_name(before).name if is_uri(source) else Path(before).resolve().name
    if not is_uri(source) and Path(source).is_dir():
        return Path(source).resolve().name
    return file_name(source).stem


def files_of(source: str, suffixes: Sequence[str], findings: Findings) -> list[str]:
    """Return the files that a source stands for: itself, or all of a folder or pattern in order.

    Args:
        source: Path or URI.
        suffixes: Of files that a data set can be read from.
        findings: Where faults are noted.

    Raises:
        DataError: If there are none, or they are of several formats.
    """
    if is_pattern(source):
        return _of_one_format(source, _matches(source, findings), findings)
    if is_uri(source) or Path(source).is_file():
        return [source]
    files = [str(path) for path in _visible(Path(source)) if path.suffix.lower() in suffixes]
    if not files:
        findings.fail(_without_data(Path(source), suffixes))
    return _of_one_format(source, files, findings)


def _visible(folder: Path) -> list[Path]:
    """The files of a folder; Spark and others begin the names of their notes with "_" or "."."""
    return [path for path in folder.iterdir() if path.is_file() and path.name[0] not in "_."]


def _without_data(folder: Path, suffixes: Sequence[str]) -> str:
    """Say that a folder holds no data, and where there are, or what it holds instead."""
    what = "is a folder without data in it"
    for suffix in suffixes:
        if (below := next(folder.glob(f"*/**/*{suffix}"), None)) is not None:
            where = f"there are some in {below.parent}"
            return f"{what}: {where}. Name that, or '{folder}/**/*{suffix}'."
    kinds = listing(suffixes, limit=len(suffixes), show=str)
    return listing_of_images(folder) or f"{what}. Wanted are files of one kind of {kinds}."


def _matches(pattern: str, findings: Findings) -> list[str]:
    if not is_uri(pattern):
        found = glob.glob(pattern, recursive=True)  # noqa: PTH207  # takes absolute patterns
        files = [path for path in found if Path(path).is_file()]
        if not files:
            findings.fail(
                "matches no file. Check the pattern, and put it into quotes: 'folder/*.parquet'."
            )
        return files
    import fsspec

    try:
        system, path = fsspec.url_to_fs(pattern)
        files = [system.unstrip_protocol(each) for each in system.glob(path)]
    except ImportError as error:
        findings.fail(f"needs a package that is not installed: {error}")
    except Exception as error:  # every file system has error classes of its own
        raise DataError(findings.source, [*findings.errors, explain(error)]) from error
    if not files:
        findings.fail("matches no file. Check the address, and your rights to list it.")
    return files


def parts_of(files: Sequence[str], findings: Findings) -> tuple[Split, ...] | None:
    """Return which split each file holds, if its name, or that of its folder, tells of all.

    As `datasets` takes them: "train-00000-of-00002.parquet", "test.csv", "val/part-0.parquet".

    Args:
        files: Paths or URIs.
        findings: Where it is noted if the names of some tell.
    """
    paths = [PurePosixPath(file.replace(os.sep, "/")).parts for file in files]
    folders = zip(*(path[:-1] for path in paths), strict=False)
    shared = len(list(takewhile(lambda names: len(set(names)) == 1, folders)))
    parts = [_part(path[shared:]) for path in paths]
    told = [part for part in parts if part is not None]
    if len(told) == len(parts) and len(set(told)) > 1:
        return tuple(told)
    if set(told) - {Split.TRAIN} and len(told) < len(parts):
        named, other = (
            next(path for path, p in zip(paths, parts, strict=True) if bool(p) is is_)
            for is_ in (True, False)
        )
        findings.warn(
            f"files are joined, though names of some are those of a split ({named[-1]}), because "
            f"names of others are not ({other[-1]}). Name all of them so, or add a column 'split'."
        )
    return None


def _part(path: Sequence[str]) -> Split | None:
    """The split that a file is named for, or else the nearest of its folders that is for one."""
    for name in (PurePosixPath(path[-1]).stem, *reversed(path[:-1])):
        words = re.findall("[a-z]+", name.lower())
        if told := {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}:
            return Split(told.pop()) if len(told) == 1 else None
    return None


def _of_one_format(source: str, files: Iterable[str], findings: Findings) -> list[str]:
    ordered = sorted(files, key=_natural)
    kinds = sorted({file_name(file).suffix.lower() for file in ordered})
    if len(kinds) > 1:
        folder = source if Path(source).is_dir() else "folder"
        findings.fail(
            f"holds files of several kinds, {listing(kinds)}. Choose one by a pattern in quotes, "
            f"'{Path(folder) / f'*{kinds[0]}'}', or name one file."
        )
    return ordered


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort "part-10" after "part-9"."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]
