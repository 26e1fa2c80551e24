"""Who imports whom, by the text alone."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that a tree may import, wherever in it; `from a import b` may mean a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reached(root: Path, package: str, start: Iterable[str]) -> list[Path]:
    """The files of a package that these modules of it may import, themselves included, directly or through others."""
    files = {
        path.relative_to(root).with_suffix("").as_posix().replace("/", "."): path
        for path in (root / package).rglob("*.py")
    }
    found: set[str] = set()
    left = list(start)
    while left:
        module = left.pop()
        if module not in found and module in files:
            found.add(module)
            named = list(imports(ast.parse(files[module].read_text(encoding="utf-8"))))
            left += [*named, *(name.rpartition(".")[0] for name in named)]
    return sorted(files[module] for module in found)
