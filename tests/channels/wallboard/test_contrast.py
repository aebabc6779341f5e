"""Every colour that text has, on every ground that it stands on: a contrast of at least 4.5 (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

TOKENS = files("channels.wallboard").joinpath("static", "tokens.css").read_text()
TEXTS = (
    "text", "soft", "faint", "accent", "warning", "alarm", "state-ready", "state-alerting", "state-call", "state-hold", "state-wrapup",
    "state-notready", "state-other", "state-out",
)  # fmt: skip

Colour = tuple[float, ...]


def _colours(theme: str) -> dict[str, str]:
    block = re.search(rf'data-theme="{theme}"\] \{{(.*?)\}}', TOKENS, re.DOTALL)
    assert block is not None
    return dict(re.findall(r"--([\w-]+): ([^;]+);", block.group(1)))


def _parse(colour: str) -> Colour:
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))


def _mix(colour: Colour, ground: Colour, part: float) -> Colour:
    return tuple(part * c + (1 - part) * g for c, g in zip(colour, ground, strict=True))


def _luminance(colour: Colour) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: Colour, other: Colour) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("name", TEXTS)
def test_text_is_readable(theme: str, name: str) -> None:
    colours = _colours(theme)
    text, panel = _parse(colours[name]), _parse(colours["panel"])
    grounds = [panel, _parse(colours["ground"])]
    if name.startswith("state-"):
        grounds.append(_mix(text, panel, float(colours["tint"].rstrip("%")) / 100))
    if name == "warning":  # the notice: board.css tints it by 14 %
        grounds.append(_mix(text, panel, 0.14))
    assert min(_contrast(text, ground) for ground in grounds) >= 4.5


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_names_on_tinted_tiles_and_the_button_are_readable(theme: str) -> None:
    colours = _colours(theme)
    panel, tint = _parse(colours["panel"]), float(colours["tint"].rstrip("%")) / 100
    tiles = [_mix(_parse(colours[name]), panel, tint) for name in TEXTS if name.startswith("state-")]
    assert min(_contrast(_parse(colours[name]), tile) for tile in tiles for name in ("text", "soft")) >= 4.5
    assert _contrast(_parse(colours["accent-text"]), _parse(colours["accent"])) >= 4.5
