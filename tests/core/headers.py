"""Find the functions and variables in C headers that take or hold functions.

A function is found if a parameter's type is a pointer to a function, or a struct or a pointer to a struct with such a
pointer in it; structs in structs, and structs that pointers in structs lead to, count too.
"""

__all__ = ["find"]

import functools
import os
import re
import shlex
import subprocess
from collections.abc import Collection, Iterator

TOKEN = re.compile(r'#[^\n]*\n|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|\w+|\s+|.', re.DOTALL)
ATTRIBUTES = {"__attribute__", "__asm__", "_Alignas"}
LEADING = {"extern", "__extension__", "typedef"}
STRUCTS = ("struct", "union", "enum")

type Tokens = list[str]


def find(source: str, options: Collection[str], folder: str, objects: Collection[str]) -> set[str]:
    """Preprocess `source`, and return the names that are found in headers whose path starts with `folder`.

    Structs that begin with one of the types `objects`, and these types, do not count.
    """
    command = [*shlex.split(os.environ.get("CC", "cc")), "-D_GNU_SOURCE", *options, "-E", "-xc", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    headers = _Headers(done.stdout, frozenset(objects))
    return {name for name, header, tokens in headers.declared if header.startswith(folder) and headers.holds(tokens)}


def _declarations(text: str) -> Iterator[tuple[str, Tokens]]:
    """Yield (header, tokens) of each outermost declaration, without attributes and the bodies of functions."""
    header, depth, tokens, dropped = "", 0, [], None
    for token in TOKEN.findall(text):
        if token.startswith("#"):
            if marker := re.match(r'# \d+ "([^"]*)"', token):
                header = marker[1]
            continue
        if token.isspace():
            continue
        depth -= token in ")]}"
        if dropped is not None:
            if depth == dropped and token == ")":
                dropped = None
        elif token in ATTRIBUTES:
            dropped = depth
        elif depth == 0 and token == ";":
            yield header, tokens
            tokens = []
        else:
            tokens.append(token)
            if depth == 0 and token == "}" and "(" in tokens[: tokens.index("{")]:
                tokens = []  # an inline function: what it calls has a declaration of its own
        depth += token in "([{"


def _closing(tokens: Tokens, start: int) -> int:
    depth = 0
    for k in range(start, len(tokens)):
        depth += (tokens[k] in "([{") - (tokens[k] in ")]}")
        if depth == 0:
            return k
    raise ValueError(tokens)


def _split(tokens: Tokens, separator: str) -> list[Tokens]:
    parts, depth = [[]], 0
    for token in tokens:
        depth += (token in "([{") - (token in ")]}")
        if depth == 0 and token == separator:
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]


def _without_sizes(tokens: Tokens) -> Tokens:
    kept, depth = [], 0
    for token in tokens:
        depth += token == "["
        if depth == 0:
            kept.append(token)
        depth -= token == "]"
    return kept


def _last_word(tokens: Tokens) -> str:
    return [token for token in tokens if re.match(r"[A-Za-z_]", token)][-1]


class _Headers:
    def __init__(self, text: str, objects: frozenset[str]) -> None:
        self.types: dict[str, list[Tokens]] = {}  # "struct x" or a typedef's name, and what it consists of
        self.objects = objects
        self.declared: list[tuple[str, str, Tokens]] = []  # name, header, the parameters or the type
        self.entered: list[str] = []
        for header, tokens in _declarations(text):
            if tokens and tokens[0] not in ("_Static_assert", ";"):
                self._declare(header, self._take_structs(tokens))

    def holds(self, tokens: Tokens) -> bool:
        """Return whether a pointer to a function is in what the tokens declare."""
        tokens = _without_sizes(tokens)
        for k, token in enumerate(tokens[:-1]):
            if token == "(" and tokens[k + 1] == "*":
                end = _closing(tokens, k)
                if tokens[end + 1 : end + 2] == ["("]:
                    return True
        return any(self._type_holds(name) for name in self._types_in(tokens))

    @functools.cache  # noqa: B019
    def _is_object(self, name: str) -> bool:
        members = self.types.get(name, [])
        return name in self.objects or any(
            "*" not in member and any(self._is_object(each) for each in self._types_in(member))
            for member in members[:1]
        )

    def _type_holds(self, name: str) -> bool:
        if name not in self.types or name in self.entered or self._is_object(name):
            return False
        self.entered.append(name)
        try:
            return any(self.holds(member) for member in self.types[name])
        finally:
            self.entered.pop()

    def _types_in(self, tokens: Tokens) -> Iterator[str]:
        for k, token in enumerate(tokens):
            if token in STRUCTS:
                yield " ".join(tokens[k : k + 2])
            elif k == 0 or tokens[k - 1] not in STRUCTS:
                yield token

    def _take_structs(self, tokens: Tokens) -> Tokens:
        """Record the structs that are defined in the tokens, the inner ones first, and leave their names."""
        while "{" in tokens:
            start = len(tokens) - 1 - tokens[::-1].index("{")
            end = _closing(tokens, start)
            head = start - 1 if tokens[start - 1] in STRUCTS else start - 2
            name = tokens[start - 1] if head == start - 2 else f"unnamed{len(self.types)}"
            if tokens[head] != "enum":
                self.types[f"{tokens[head]} {name}"] = _split(tokens[start + 1 : end], ";")
            tokens = [*tokens[:head], tokens[head], name, *tokens[end + 1 :]]
        return tokens

    def _declare(self, header: str, tokens: Tokens) -> None:
        is_type = "typedef" in tokens
        if not is_type and ("static" in tokens or (len(tokens) == 2 and tokens[0] in STRUCTS)):
            return
        tokens = [token for token in tokens if token not in LEADING]
        first, *others = _split(tokens, ",")
        if is_type:
            for part in (first, *others):
                self._define(part, first)
        elif "(" not in tokens:
            self.declared.append((_last_word(_without_sizes(first)), header, first))
        else:
            start = tokens.index("(")
            end = _closing(tokens, start)
            inner = tokens[start + 1 : end]
            if inner[:1] != ["*"]:
                self.declared.append((tokens[start - 1], header, inner))
            elif "(" in inner:  # a function that returns a pointer to a function
                nested = inner.index("(")
                self.declared.append((inner[nested - 1], header, inner[nested + 1 : _closing(inner, nested)]))
            else:
                self.declared.append((_last_word(inner), header, tokens))

    def _define(self, part: Tokens, first: Tokens) -> None:
        """Record a type: `first` is the beginning of its typedef, up to a comma, and `part` has its name."""
        if "(" in part:
            start = part.index("(")
            end = _closing(part, start)
            name = _last_word(part[start + 1 : end]) if part[end + 1 : end + 2] == ["("] else part[start - 1]
            self.types[name] = [["(", "*", ")", "("]]
        else:
            whole = _without_sizes(first)
            behind = whole[::-1].index(_last_word(whole)) + 1  # the first name and what follows
            self.types.setdefault(_last_word(_without_sizes(part)), [whole[:-behind]])
