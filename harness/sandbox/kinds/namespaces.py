"""The strongest sandbox: namespaces made by bubblewrap, a seccomp filter, limits.

The `policy.write` folders are tmpfs mounts of the sandbox's own, as large as `file_mib`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

from harness.contract import HarnessError
from harness.sandbox.backends import bubblewrap
from harness.sandbox.backends.interpreter import program_words
from harness.sandbox.backends.uids import check_readable
from harness.sandbox.boot.pool import SandboxPool
from harness.sandbox.boot.prewarmed import PrewarmedSandbox, SandboxShape
from harness.sandbox.boot.start import Started
from harness.sandbox.boot.zygote_client import Zygote
from harness.sandbox.kinds.base import MIB, SandboxBase, zygote_of
from harness.sandbox.monitor.control_group import ControlGroup
from harness.sandbox.monitor.cpu import CpuContention
from harness.sandbox.monitor.memory import MemoryMeter
from harness.sandbox.monitor.process_trees import NamespaceTree
from harness.sandbox.outputs import take_outputs


class NamespaceSandbox(SandboxBase):
    """A sandbox with namespaces of its own, cold, from a zygote or from a pool."""

    program: Started
    tree: NamespaceTree
    _group: ControlGroup | None = None

    def __enter__(self) -> NamespaceSandbox:
        check_readable(self._policy.read.values())
        with self._stack as stack:  # closed at once where entering fails
            self.program = self._started(stack)
            proc, *mounts = self.program.handles[1:]
            self.tree = NamespaceTree(
                MemoryMeter(proc, self._policy.memory_mib * MIB),
                CpuContention(proc, self._policy.slice.cores),
                self.program.init,
                proc,
                tuple(mounts),
                self._group,
                sockets=not (self._policy.event_loop or self._policy.network),
            )
            self.tree.contention.look([])  # from now on the clock runs
            self._written = mounts[len(bubblewrap.PRIVATE) :]
            self._stack = stack.pop_all()
        return self

    def meanwhile(self) -> None:
        """Let the pool make the next sandboxes."""
        if isinstance(self._source, SandboxPool):
            self._source.prewarm()

    def take_outputs(self) -> Mapping[str, str]:
        """Copy the outputs from the sandbox's tmpfs mounts to the host's folders."""
        return take_outputs(self._policy, self._written)

    def _started(self, stack: ExitStack) -> Started:
        policy, argv, source = self._policy, self._argv, self._source
        if source is None or program_words(argv) is None:
            policy = replace(policy, bare=False)  # a command is a file
            with Zygote(policy.slice, ()) as empty:  # has imported nothing
                made = PrewarmedSandbox(SandboxShape.of(policy, argv), empty, self._observer.folder)
                self._group = stack.enter_context(made).group
                return made.start(policy, argv, self._observer.output, executed=True)
        waiting = source.take(policy, argv) if isinstance(source, SandboxPool) else None
        if waiting is not None:
            self._group = stack.enter_context(waiting).group
            try:
                return waiting.start(policy, argv, self._observer.output)
            except HarnessError:  # it died while it waited: make another
                waiting.close()
        shape = SandboxShape.of(policy, argv)
        made = PrewarmedSandbox(shape, zygote_of(source), self._observer.folder)
        self._group = stack.enter_context(made).group
        return made.start(policy, argv, self._observer.output)
