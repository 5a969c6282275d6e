"""Why a worker died, in one line that a person can use."""

import re

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FRAME = re.compile(r' +File "| +[~^]+$')  # of a traceback, or what Ray leaves of one
_MEMORY = re.compile(r"low on memory.*?([\d.]+ ?GB)(?: used)? / ([\d.]+ ?GB)", re.DOTALL)
_CRASH = "Worker unexpectedly exits"
_DETAIL = "Worker exit detail: "
_HEAD = "The actor died unexpectedly before finishing this task."


def in_one_line(cause: str) -> str:
    """Return what killed a worker: its exception, or what ended its process.

    Args:
        cause: What Ray says: many lines, with a traceback or with addresses of actors.
    """
    lines = _COLOUR.sub("", cause).strip().splitlines() or ["of an unknown cause"]
    frames = [number for number, line in enumerate(lines) if _FRAME.match(line)]
    if frames:
        after = (line for line in lines[frames[-1] + 1 :] if line and not line.startswith(" "))
        return next(after, lines[-1]).strip()
    if memory := _MEMORY.search(cause):
        return f"its node ran low on memory: {memory[1]} of {memory[2]} used"
    if _CRASH in cause:
        return "its process was killed, perhaps because memory ran out, or it crashed"
    told = [line for line in lines if not line.startswith("\t") and line != _HEAD]
    return (told or lines)[0].rpartition(_DETAIL)[2].strip()
