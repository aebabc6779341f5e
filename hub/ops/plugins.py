"""Loads extensions: the setting ``extensions`` names their classes."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from hub.bayeux.extensions import Extension
from hub.ops.settings import SettingsError


def load_extensions(names: Iterable[str]) -> list[Extension]:
    """Make one object of each extension, in order.

    A name is ``module:Class`` for an importable module, or ``path/to/file.py:Class``, with a path relative to the current folder.

    Raises:
        SettingsError: a name has another form, a module cannot be imported, or the class is not one of extensions. It lists all problems.
    """
    problems: list[str] = []
    made: list[Extension] = []
    for name in names:
        try:
            made.append(_load(name))
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return made


def _load(name: str) -> Extension:
    where, separator, attribute = name.rpartition(":")
    if not separator or not where or not attribute.isidentifier():
        raise SettingsError([f"extensions: expected module:Class or path/to/file.py:Class, got {name!r}"])
    try:
        module = _from_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except Exception as error:  # any exception of the user's module during its import
        raise SettingsError([f"extensions: {name!r} cannot be imported: {type(error).__name__}: {error}"]) from error
    kind = getattr(module, attribute, None)
    if not (isinstance(kind, type) and issubclass(kind, Extension)):
        expected = "expected a subclass of hub.bayeux.extensions.Extension"
        raise SettingsError([f"extensions: {expected}, got {attribute} of {where}, which is {'nothing' if kind is None else repr(kind)}"])
    try:
        return kind()
    except Exception as error:
        raise SettingsError([f"extensions: {name!r} cannot be made without arguments: {type(error).__name__}: {error}"]) from error


def _from_file(path: Path) -> ModuleType:
    name = f"hub_extension_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look up the module of a class there
    spec.loader.exec_module(module)
    return module
