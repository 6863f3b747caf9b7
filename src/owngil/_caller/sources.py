"""Source lines in tracebacks of workers, for code that only the caller has: notebook cells, the REPL, text for exec().

A worker knows no source for such code. Nothing is sent along with a function for that: lines are filled in when a
traceback arrives.
"""

import linecache
import re

__all__ = ["fill_in"]

# In a traceback's text: what stands before a frame (in exception groups), file, line, and the function's name.
_FRAME = re.compile(r'^([ |+]*)  File "(.*)", line (\d+)(?:, in (.*))?$')


def _line(filename: str, number: int, function: str) -> str:
    line = linecache.getline(filename, number)
    if line or not filename.startswith("<"):
        return line
    # What was typed in may all have one file name in a traceback: then it is the latest of that function. Since 3.14,
    # linecache has it by the code's file, name and first line.
    for key, entry in reversed(getattr(linecache, "_interactive_cache", {}).items()):
        if filename in (key[0], entry[3]) and key[1] == function and number <= len(entry[2]):
            return str(entry[2][number - 1])
    definition = "lambda" if function == "<lambda>" else f"def {function}("
    for entry in reversed(linecache.cache.values()):
        if entry[-1] == filename and number <= len(entry[2]) and definition in "".join(entry[2]):
            return str(entry[2][number - 1])
    return ""


def fill_in(text: str) -> str:
    """Return a traceback with the source lines that it lacks, as far as they are known here."""
    lines = text.split("\n")
    result = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        result.append(line)
        frame = _FRAME.match(line)
        if frame is not None and not following.startswith(f"{frame[1]}    "):
            source = _line(frame[2], int(frame[3]), frame[4] or "").strip()
            if source:
                result.append(f"{frame[1]}    {source}")
    return "\n".join(result)
