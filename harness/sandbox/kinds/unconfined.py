"""No sandbox at all: the program runs as the caller; its tree is still watched and killed."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from harness.sandbox.boot.spec import on_host, unconfined_spec
from harness.sandbox.boot.start import Started
from harness.sandbox.kinds.base import MIB, SandboxBase, opened
from harness.sandbox.monitor.process_trees import UnconfinedTree
from harness.sandbox.outputs import take_outputs

PROC = Path("/proc")


class Unconfined(SandboxBase):
    """A program without walls, whose `policy.write` folders are the host's own."""

    program: Started
    tree: UnconfinedTree

    def __enter__(self) -> Unconfined:
        policy = self._policy
        words = on_host(self._argv, {**policy.read, **policy.write})
        with self._stack as stack:  # closed at once where entering fails
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="swarm-sandbox-"))
            proc = stack.enter_context(opened(PROC)) if sys.platform == "linux" else None
            tree = UnconfinedTree(policy.memory_mib * MIB, policy.slice.cores, proc)
            self.tree = stack.enter_context(tree)
            spec = unconfined_spec(policy, words, home)
            self.program = stack.enter_context(self._observer.start(spec))
            self.tree.first = self.program.outer.pid if self.program.outer else 0
            self._stack = stack.pop_all()
        return self

    def meanwhile(self) -> None:
        """Do nothing: there is nothing to make ahead."""

    def take_outputs(self) -> Mapping[str, str]:
        """Replace each folder that was written by one with checked copies, if files are named.

        Without names the files stay where the program put them.
        """
        if self._policy.outputs is None:
            return {}
        with ExitStack() as stack:
            folders = []
            for folder in self._policy.write.values():
                raw = folder.with_name(f"{folder.name}.raw")
                folder.rename(raw)
                folder.mkdir()
                folders.append(stack.enter_context(opened(raw)))
            return take_outputs(self._policy, folders)
