"""The sandbox for hosts that forbid namespaces: Landlock, a seccomp filter, a supervisor process.

There are no mounts: arguments that name a path of the policy are replaced by the host's path.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.contract import SetupError
from harness.sandbox.backends import landlock
from harness.sandbox.backends.interpreter import program_words
from harness.sandbox.backends.scratch import folders
from harness.sandbox.boot.spec import landlock_spec, on_host
from harness.sandbox.boot.start import Started
from harness.sandbox.kinds.base import MIB, SandboxBase, opened, zygote_of
from harness.sandbox.monitor.cpu import CpuContention
from harness.sandbox.monitor.descendants import Descendants
from harness.sandbox.monitor.disk import DiskMonitor
from harness.sandbox.monitor.memory import MemoryMeter, OpenSockets
from harness.sandbox.monitor.process_trees import SupervisedTree, pid_of
from harness.sandbox.outputs import take_outputs


class LandlockSandbox(SandboxBase):
    """A sandbox in the host's namespaces, cold or from a zygote."""

    program: Started
    tree: SupervisedTree

    def __enter__(self) -> LandlockSandbox:
        policy = self._policy
        landlock.check()
        if policy.network:
            raise SetupError(
                "`network: true` needs `--sandbox namespaces`: Landlock has no sockets"
            )
        landlock.check_inputs(policy, self._argv)
        with self._stack as stack:  # closed at once where entering fails
            own = stack.enter_context(folders(policy))
            paths = {**policy.read, **dict(zip(policy.write, own.written, strict=True))}
            spec = landlock_spec(policy, on_host(self._argv, paths), own)
            proc, *scratch = [stack.enter_context(opened(p)) for p in (Path("/proc"), *own.all)]
            words = program_words(spec["argv"])
            if self._source is None or words is None:
                self.program = stack.enter_context(self._observer.start(spec))
            else:
                spec["argv"], spec["executed"] = words, False
                zygote = zygote_of(self._source)
                self.program = stack.enter_context(
                    zygote.start_supervised(spec, self._observer.output)
                )
            supervisor = self.program.handles[0]
            limits = [policy.tmp_mib * MIB] * 2 + [policy.file_mib * MIB] * len(own.written)
            self.tree = SupervisedTree(
                MemoryMeter(proc, policy.memory_mib * MIB),
                CpuContention(proc, policy.slice.cores),
                supervisor,
                Descendants(pid_of(supervisor)),
                Descendants(pid_of(supervisor)),
                DiskMonitor(tuple(zip(scratch, limits, strict=True))),
                None if policy.event_loop else OpenSockets(proc),
            )
            self.tree.contention.look([])  # from now on the clock runs
            self._written = scratch[2:]  # after HOME and /tmp
            self._stack = stack.pop_all()
        return self

    def meanwhile(self) -> None:
        """Do nothing: these sandboxes are not made ahead."""

    def take_outputs(self) -> Mapping[str, str]:
        """Copy the outputs from the sandbox's own folders to those of the policy."""
        return take_outputs(self._policy, self._written)
