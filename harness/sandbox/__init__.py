"""Confinement of untrusted programs: `run(policy, argv, log)`.

Imported by harness.tasks and above, and by swarm for its self-check.
"""

from harness.sandbox.backends.bubblewrap import check, find_sandbox
from harness.sandbox.backends.interpreter import python_argv
from harness.sandbox.boot.pool import SandboxPool
from harness.sandbox.boot.zygote_client import Zygote
from harness.sandbox.policy import Exit, SandboxPolicy
from harness.sandbox.run import Running, run

__all__ = [
    "Exit",
    "Running",
    "SandboxPolicy",
    "SandboxPool",
    "Zygote",
    "check",
    "find_sandbox",
    "python_argv",
    "run",
]
