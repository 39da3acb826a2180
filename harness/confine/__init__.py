"""Confinement as a policy object with tiers: `run(policy, argv, log)` and little beside it."""

from harness.confine.ahead import Ahead
from harness.confine.bubblewrap import check, find_sandbox
from harness.confine.interpreter import python_argv
from harness.confine.policy import Exit, Policy
from harness.confine.supervisor import run
from harness.confine.warm import Zygote

__all__ = ["Ahead", "Exit", "Policy", "Zygote", "check", "find_sandbox", "python_argv", "run"]
