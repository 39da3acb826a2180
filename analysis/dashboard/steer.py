"""Steering from the page: the command that a form asks for.

Commands, and which of them are accepted, are those of `islands.steering`; who carries them out is
given to the page, as it only reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl

from harness.contract import SetupError
from islands.events.steering import LIMIT_NAMES
from islands.steering import (
    AddNote,
    DropChange,
    PauseIslands,
    RestartIsland,
    ResumeIslands,
    SetLimits,
    SteeringCommand,
    StopLaunch,
    WithdrawNote,
)

Steer = Callable[[str, SteeringCommand], object]
"""Has a command carried out in the run of that name. Raises SetupError where it is refused."""

MAX_FORM_BYTES: Final = 20_000


def form_of(body: bytes) -> dict[str, str]:
    """Return the fields of a posted form. Raises SetupError where it is none."""
    if len(body) > MAX_FORM_BYTES:
        raise SetupError(f"a form has at most {MAX_FORM_BYTES} bytes")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        raise SetupError("not a form of this page") from None


def command_of(form: Mapping[str, str]) -> SteeringCommand:  # noqa: PLR0911 - one for each command
    """Return the command that a form asks for. Raises SetupError where it asks for none."""
    island = form.get("island", "")
    match form.get("command"):
        case "note":
            return AddNote(form.get("text", "").replace("\r\n", "\n"), island)
        case "withdraw":
            return WithdrawNote(_number(form, "number"))
        case "pause":
            return PauseIslands(island)
        case "resume":
            return ResumeIslands(island)
        case "stop":
            return StopLaunch()
        case "restart":
            return RestartIsland(form.get("commit", ""), island)
        case "drop":
            return DropChange(_number(form, "experiment"))
        case "limits":
            return _limits(form)
    raise SetupError("not a form of this page")


def _limits(form: Mapping[str, str]) -> SetLimits:
    value = form.get("value", "").strip()
    for name in LIMIT_NAMES:
        if name == form.get("limit"):
            return SetLimits({name: None if value == "none" else _float(value)})
    raise SetupError(f"limit: choose one of {', '.join(LIMIT_NAMES)}")


def _float(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise SetupError(f"limit: {value[:40]!r} is no number") from None


def _number(form: Mapping[str, str], field: str) -> int:
    value = form.get(field, "")
    if not (value.isascii() and value.isdigit() and len(value) < 10):  # noqa: PLR2004 - an INTEGER's digits
        raise SetupError(f"{field}: {value[:40]!r} is no number")
    return int(value)
