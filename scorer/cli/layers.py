"""Reads the settings: defaults < scorer.toml < environment < --set, each value with where it came from.

Guarantee: `load_settings` either returns settings that passed every check, or raises one ConfigError that lists
what it found wrong, a line each, with the origin and the nearest right name. No message holds a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scorer.cli.checking import Leaf, checked
from scorer.cli.document import Document, read_document
from scorer.cli.keys import PREFIX, STREAM_KEYS, Target, effective, tables, targets, variable
from scorer.cli.nearest import did_you_mean
from scorer.cli.settings import Gateway, Kafka, Registry, Settings
from scorer.cli.values import Layer, Raw, takes_secret, value_of
from scorer.core.errors import ConfigError

DEFAULT_FILE = "scorer.toml"
OWN_VARIABLES = frozenset({"SCORER_CONFIG", "SCORER_DEBUG", "SCORER_SUPERVISED", "SCORER_FAILPOINT"})
"""Read by the command line itself; no settings. A new variable of that kind is named here, or it is refused."""

_STREAM_VARIABLE = re.compile(rf"{PREFIX}STREAMS__(.+)__(?:{'|'.join(STREAM_KEYS).upper()})")
_SERVICE_VARIABLE = re.compile(rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_\w+)")
_SERVICE_PORT = re.compile(rf"{PREFIX}(\w+_)?PORT")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with their origins.

    Attributes:
        settings: checked and frozen.
        origins: every key of `keys.effective(settings)` to where its value came from.
        file: the settings file that was read, or None if there was none.
    """

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None


def load_settings(path: Path | None, environ: Mapping[str, str], sets: Sequence[str]) -> Loaded:
    """Reads every layer and checks the outcome.

    Args:
        path: the settings file; None for $SCORER_CONFIG, else ./scorer.toml if there is one.
        environ: the environment.
        sets: `key=value` each; the last of equal keys wins.

    Raises:
        ConfigError: a line for each thing that is wrong.
    """
    file = _settings_file(path, environ)
    document = read_document(file) if file else Document((), (), ())
    flags = [_flag(text) for text in sets]
    known = targets(_stream_names(document, environ, flags))
    leaves = _defaults(known, environ)
    problems = list(document.problems)
    for layer in (_of_file(document, file), _of_environment(known, environ), flags):
        found: dict[str, Leaf] = {}
        for raw in layer:
            try:
                leaf = _leaf(raw, known, environ)
                _refuse_twice(leaf, found, raw.layer)
            except ValueError as problem:
                problems.append(f"{raw.place} {problem}")
            else:
                found[leaf.target.key] = leaf
        leaves |= found
    if problems:
        raise ConfigError("\n".join(problems))
    settings = checked(leaves, dict(document.streams))
    origins = {key: leaves[key].origin if key in leaves else "default" for key in effective(settings)}
    return Loaded(settings, origins, file)


def _settings_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    if path is not None:
        return path
    if named := environ.get("SCORER_CONFIG"):
        return Path(named)
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).exists() else None


def _defaults(known: Mapping[str, Target], environ: Mapping[str, str]) -> dict[str, Leaf]:
    """Defaults that the models cannot know, or that a table of properties would push out."""
    values = [Raw("kafka.bootstrap.servers", Kafka().shared["bootstrap.servers"], "default", Layer.FILE, Path())]
    base = environ.get("XDG_CACHE_HOME", "")
    for key, path in {"registry.cache": Registry().cache, "gateway.store": Gateway().store}.items():
        place, origin = path, "default"
        if Path(base).is_absolute():
            place, origin = Path(base, *path.parts[2:]), "XDG_CACHE_HOME"
        values.append(Raw(key, str(place), origin, Layer.FILE, Path()))
    return {raw.key: _leaf(raw, known, environ) for raw in values}


def _of_file(document: Document, file: Path | None) -> Iterator[Raw]:
    folder = file.parent.absolute() if file else Path()
    for entry in document.entries:
        yield Raw(entry.key, entry.value, entry.origin, Layer.FILE, folder)


def _of_environment(known: Mapping[str, Target], environ: Mapping[str, str]) -> Iterator[Raw]:
    by_variable = {variable(key): key for key in known}
    for name in sorted(environ):
        value = environ[name]
        if not name.startswith(PREFIX) or not value or name in OWN_VARIABLES or _is_kubernetes(name, value):
            continue
        of_file = by_variable.get(name.removesuffix("_FILE"))
        if name in by_variable:
            yield Raw(by_variable[name], value, name, Layer.ENVIRONMENT, Path.cwd())
        elif of_file and takes_secret(known[of_file]):
            yield Raw(of_file, {"file": value}, name, Layer.ENVIRONMENT, Path.cwd())
        else:
            yield Raw(name, value, name, Layer.ENVIRONMENT, Path.cwd())


def _is_kubernetes(name: str, value: str) -> bool:
    """Whether a variable is one that Kubernetes sets in every pod beside a Service called scorer or scorer-*."""
    if "__" in name:
        return False
    if _SERVICE_VARIABLE.fullmatch(name):
        return True
    return _SERVICE_PORT.fullmatch(name) is not None and "://" in value


def _flag(text: str) -> Raw:
    key, equals, value = text.partition("=")
    key = re.sub(r"[\"'\s]", "", key)
    if not equals:
        raise ConfigError(f'--set {key} has no value: write --set KEY=VALUE, as in --set "batch.rows_max=500"')
    return Raw(key, value.strip(), "--set", Layer.FLAG, Path.cwd())


def _stream_names(document: Document, environ: Mapping[str, str], flags: Iterable[Raw]) -> list[str]:
    names = [name for name, _ in document.streams]
    for name in sorted(environ):
        if match := _STREAM_VARIABLE.fullmatch(name):
            names.append(match[1].lower().replace("_", "-"))
    for flag in flags:
        parts = flag.key.split(".")
        if parts[0] == "streams" and len(parts) == 3 and parts[2] in STREAM_KEYS:
            names.append(parts[1])
    return list(dict.fromkeys(names))


def _leaf(raw: Raw, known: Mapping[str, Target], environ: Mapping[str, str]) -> Leaf:
    if raw.key in tables():
        raise ValueError(f"is a table: its settings are {raw.key}.*")
    if raw.key not in known:
        by_variable = raw.layer is Layer.ENVIRONMENT
        names = [variable(key) for key in known] if by_variable else list(known)
        shared = (f"{PREFIX}KAFKA__", PREFIX) if by_variable else ("kafka.",)
        prefix = next((prefix for prefix in shared if raw.key.startswith(prefix)), "")
        raise ValueError(f"is not a setting{did_you_mean(raw.key, names, prefix)}")
    target = known[raw.key]
    return Leaf(target, value_of(raw, target, environ), raw.origin, raw.place)


def _refuse_twice(leaf: Leaf, found: Mapping[str, Leaf], layer: Layer) -> None:
    """Two names of one setting in one layer would leave it to chance which of them counts."""
    if leaf.target.key in found and layer is not Layer.FLAG:
        raise ValueError(f"sets what {found[leaf.target.key].place} sets too: keep one")
