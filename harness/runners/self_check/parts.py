"""The attacks by name, in parts: each part is made in a sandbox of its own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from . import files, kernel, processes
from .target import Attack, Target

PARTS: dict[str, dict[str, Attack]] = {
    "first": {
        "files": files.files,
        "inputs": files.inputs,
        "processes": processes.processes,
        "environment": kernel.environment,
        "descriptors": kernel.descriptors,
        "sockets": kernel.sockets,
        "io_uring": kernel.rings,
        "modes": files.modes,
        "limits": processes.limits,
        "watches": files.watches,
        "locks": files.locks,
        "leases": files.leases,
        "page cache": files.page_cache,
        "machine counts": kernel.machine,
        "holders": processes.holders,
        "kernel memory": kernel.kernel_memory,
        "terminals": kernel.terminals,
        "tracing": processes.tracing,
        "namespaces": kernel.namespaces,
        "packages": files.packages,
        "kernel settings": kernel.settings,
        "devices": files.devices,
        "privileges": kernel.privileges,
        "clock": kernel.clock,
        "keys": kernel.keys,
        "page faults": kernel.faults,
        "cores": processes.cores,
        "priority": processes.priority,
        "file size": files.file_size,
        "links": files.links,
        "new notes": files.notes,
    },
    "second": {"notes": files.found_notes, "forks": processes.forks},
    "disk": {"disk": files.disk},
    "memory": {"memory": processes.memory},
    "deadline": {"deadline": processes.deadline},
}


def main() -> None:
    """Make the attacks of one part and report what they got."""
    _, part, out, _, text = sys.argv
    target = Target(**json.loads(text))
    report = {name: _attempt(attack, target) for name, attack in PARTS[part].items()}
    Path(out, "escaped.json").write_text(json.dumps(report))
    os._exit(0)


def _attempt(attack: Attack, target: Target) -> str:
    try:
        return attack(target)
    except OSError:
        return ""
