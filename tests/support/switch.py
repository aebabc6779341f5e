"""Lets tests share what takes long to build, such as a REST application. It is built once, over switches; each test points the switches to
objects of its own.
"""

from __future__ import annotations

from typing import Any


class Switch:
    """Stands for ``target``: has its attributes. A method that somebody keeps is looked up at each call, so it is that of the present
    target.
    """

    def __init__(self, target: Any = None) -> None:
        self.target = target

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.target, name)
        if not callable(found):
            return found
        return lambda *args, **kwargs: getattr(self.target, name)(*args, **kwargs)
