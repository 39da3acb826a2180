"""Settings of this machine that forbid namespaces, and the advice that lifts each.

The advice is that of the documentation of who set them:
- Docker's default filter refuses `unshare`, `mount` and a `clone` with namespaces where the
  container lacks CAP_SYS_ADMIN (docs.docker.com/engine/security/seccomp); its AppArmor profile
  refuses mounts (docs.docker.com/engine/security/apparmor), and where parts of /proc are masked the
  kernel refuses a new one (`--security-opt systempaths=unconfined`; podman's `unmask=ALL`);
- Ubuntu from 24.04 on lets programs make user namespaces whose AppArmor profile says so
  (ubuntu.com/blog/ubuntu-23-10-restricted-unprivileged-user-namespaces); its package
  apparmor-profiles has one for /usr/bin/bwrap.

Not covered: other security modules (SELinux), whose refusals show in bubblewrap's message alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from harness.sandbox.kernel_files import kernel_text

CONTAINER = (
    "--security-opt seccomp=unconfined --security-opt apparmor=unconfined"
    " --security-opt systempaths=unconfined"
)
"""Options of `docker run` with which bubblewrap works inside, as a user."""

_SYS_ADMIN = 1 << 21
_FILTERED = "2"
_APPARMOR = "kernel.apparmor_restrict_unprivileged_userns"


def fixes(told: str, root: Path = Path("/")) -> str:
    """Return what lifts what bubblewrap was `told`, "" where no setting below `root` shows it."""
    return "; ".join(_fixes(told, root))


def _fixes(told: str, root: Path) -> Iterator[str]:
    status = kernel_text(root / "proc/self/status")
    is_root = _field(status, "Uid").split("\t")[0] == "0"
    admin = int(_field(status, "CapEff") or "0", 16) & _SYS_ADMIN
    if is_root and not admin:
        yield "root lacks CAP_SYS_ADMIN here: run swarm as another user (`docker run --user 1000`)"
    if _field(status, "Seccomp") == _FILTERED or "proc on" in told:
        yield (
            "a filter or mask of this container, as Docker's default, refuses namespaces: start it"
            f" with `{CONTAINER}`"
        )
    if _setting(root, _APPARMOR) == "1":
        yield (
            f"AppArmor keeps user namespaces to programs with a profile ({_APPARMOR}): `apt install"
            " bubblewrap apparmor-profiles`, copy"
            " /usr/share/apparmor/extra-profiles/bwrap-userns-restrict to /etc/apparmor.d and"
            f" `systemctl reload apparmor`, or `sysctl -w {_APPARMOR}=0`"
        )
    for name, enough in (
        ("kernel.unprivileged_userns_clone", 1),
        ("user.max_user_namespaces", 15000),
    ):
        if _setting(root, name) == "0":
            yield f"user namespaces are off: `sysctl -w {name}={enough}`"


def _field(status: str, name: str) -> str:
    found = re.search(rf"^{name}:\s*(.*)$", status, re.MULTILINE)
    return found[1] if found else ""


def _setting(root: Path, name: str) -> str:
    return kernel_text(root / "proc/sys" / name.replace(".", "/")).strip()
