"""Specs for a sandbox's first process: uid, limits, filter, program."""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.sandbox.backends import bubblewrap, landlock, seccomp
from harness.sandbox.backends.environment import environment
from harness.sandbox.backends.interpreter import program_words
from harness.sandbox.backends.scratch import ScratchFolders
from harness.sandbox.backends.uids import sandbox_uid
from harness.sandbox.policy import SandboxPolicy

if TYPE_CHECKING:
    from harness.sandbox.guest.limits import GuestSpec

MIB = 1 << 20

OPEN_FILES = 768
"""Below the usual soft limit of 1,024 by more than the 253 descriptors of one message: descriptors
in flight through sockets are counted per user, and a process whose limit they exceed can send none.
A sandbox must not be able to block its neighbours."""

NO_CORE = 1
"""Bytes of a core dump. A core_pattern that pipes dumps to a program of the host's, run as root,
ignores a limit of 0 and obeys one of 1; no file is as small as that either. Where the caller's hard
limit is 0 it cannot be raised."""

LIMITS = [
    (resource.RLIMIT_NOFILE, OPEN_FILES),
    (resource.RLIMIT_MSGQUEUE, 0),
    (resource.RLIMIT_SIGPENDING, 256),  # timers and queued signals are counted for each user
    (resource.RLIMIT_NICE, 0),
    (resource.RLIMIT_RTPRIO, 0),
]


def namespaces_spec(policy: SandboxPolicy, argv: Sequence[str]) -> GuestSpec:
    """Return the spec of a sandbox with namespaces."""
    spec = unconfined_spec(policy, argv, bubblewrap.HOME)
    spec["domain"], spec["mappings"] = True, not policy.bare
    spec["written"] = policy.slice.kind == "cuda"
    spec["limits"] += [(resource.RLIMIT_NPROC, max_processes(policy)), *LIMITS]
    spec["watched"] = ["/proc", *bubblewrap.PRIVATE, *policy.write]
    spec["uid"] = sandbox_uid()
    spec["filter"] = seccomp_program(policy)
    return spec


def seccomp_program(policy: SandboxPolicy) -> bytes:
    """Return the seccomp program of a sandbox with namespaces."""
    return seccomp.program(driver=policy.slice.kind == "cuda", event_loop=policy.event_loop)


def landlock_spec(policy: SandboxPolicy, argv: Sequence[str], own: ScratchFolders) -> GuestSpec:
    """Return the spec of a Landlock sandbox, for its supervisor."""
    spec = unconfined_spec(policy, argv, str(own.home))
    spec["env"] = environment(policy, str(own.home), str(own.tmp))
    spec["limits"] += LIMITS
    spec["uid"] = sandbox_uid()
    driver = policy.slice.kind == "cuda"
    spec["filter"] = seccomp.program(driver=driver, event_loop=policy.event_loop, shared=True)
    spec["supervisor"] = {
        "rules": landlock.rules(policy, argv, own),
        "max_processes": max_processes(policy),
        "folder": str(own.base),
    }
    return spec


def max_processes(policy: SandboxPolicy) -> int:
    """Return the limit on processes and threads."""
    return policy.processes + 4 * len(policy.slice.cores)


def unconfined_spec(policy: SandboxPolicy, argv: Sequence[str], home: str) -> GuestSpec:
    """Return the spec of a program without a sandbox; the others extend it."""
    return {
        "argv": list(argv),
        "env": environment(policy, home),
        "cwd": home,
        "watched": [],
        "fds": list(policy.fds),
        "cores": list(policy.slice.cores),
        "limits": [(resource.RLIMIT_CORE, NO_CORE), (resource.RLIMIT_FSIZE, policy.file_mib * MIB)],
        "uid": None,
        "filter": b"",
        "supervisor": None,
        "domain": False,
        "mappings": True,
        "written": True,
        "executed": True,
    }


def on_host(argv: Sequence[str], places: Mapping[str, Path]) -> list[str]:
    """Return `argv` with each path inside one of `places` (inside to host) as a host path.

    The interpreter and the script are host paths already.
    """
    program = program_words(argv)
    start = len(argv) - len(program) + 1 if program else 0
    return [*argv[:start], *[_on_host(word, places) for word in argv[start:]]]


def _on_host(word: str, places: Mapping[str, Path]) -> str:
    for inside in sorted(places, key=len, reverse=True):
        if word == inside or word.startswith(f"{inside}/"):
            return f"{places[inside]}{word[len(inside) :]}"
    return word
