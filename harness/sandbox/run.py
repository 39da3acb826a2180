"""The one entry to confinement: run a command under a policy, watch it to its end, say how.

Not covered: as bubblewrap reports it, a first process that exits with 129 to 192 reads as one that
died of signal 1 to 64. What a sandbox writes counts as its memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from harness.contract import SandboxKind, SetupError
from harness.sandbox.kinds.base import Observer, Sandbox, Source
from harness.sandbox.kinds.landlock import LandlockSandbox
from harness.sandbox.kinds.namespaces import NamespaceSandbox
from harness.sandbox.kinds.unconfined import Unconfined
from harness.sandbox.policy import Exit, SandboxPolicy

_Factory = Callable[[SandboxPolicy, Sequence[str], Observer, Source | None], Sandbox]

_KINDS: Final[dict[SandboxKind, _Factory]] = {
    "namespaces": NamespaceSandbox,
    "landlock": LandlockSandbox,
    "none": Unconfined,
}


def run(
    policy: SandboxPolicy, argv: Sequence[str], log: Path, source: Source | None = None
) -> Exit:
    """Run `argv` under `policy`; its output, 1 MiB at most, goes to the file `log`.

    Returns when none of its processes is alive and its outputs are in the `policy.write` folders.
    A command made by `python_argv` starts as a copy of `source`, if one is given: with namespaces
    in one of its prewarmed sandboxes, if one fits. As root, everybody must be able to read what
    `policy.read` names. With Landlock or without a sandbox, an argument that is a path inside the
    sandbox is replaced by the host's path.

    Raises SetupError where this machine cannot make the sandbox, HarnessError where a sandbox does
    not start or does not end.
    """
    if policy.kind not in _KINDS:
        raise SetupError(f"no sandbox is called {policy.kind!r}: choose one of {', '.join(_KINDS)}")
    if source is not None and policy.kind != "none" and source.slice != policy.slice:
        raise ValueError(f"{source.slice.name}'s zygote cannot serve {policy.slice.name}")
    with Observer(log) as observer, _KINDS[policy.kind](policy, argv, observer, source) as sandbox:
        ended = observer.watch(sandbox.program, sandbox.tree, policy.seconds, sandbox.meanwhile)
        return dataclasses.replace(ended, refused=sandbox.take_outputs())
