"""Fingerprint of the harness: tree id of `harness/`, digest of the data, torch, device class.

The tree id is the hash that git gives the folder, computed from the files themselves, so an
installed wheel and a checkout of the same commit have the same harness.
"""

from __future__ import annotations

import hashlib
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HARNESS_DIR = Path(__file__).parent


def tree_id(folder: Path = HARNESS_DIR) -> str:
    """Return git's tree id (40 hex digits) of `folder` without byte code and hidden files."""
    return _tree(folder).hex()


def harness_id(data_digest: str, device: str, *, torch: bool) -> str:
    """Return the harness id, which every score names; scores of different ids never compare.

    It names the version of torch for tasks that use it, and that genomes of these are compiled
    before their budget, which they are on a GPU.
    """
    compiled = "precompiled-" if device.startswith("cuda") else ""
    used = f"torch{_torch()}-{compiled}" if torch else ""
    return f"{tree_id()[:12]}-{data_digest[:12]}-{used}{device}"


def export(into: Path) -> Path:
    """Copy the harness below `into`, unless it is there, and return the folder to import it from.

    The copy is named by its tree id, so editing the checkout during a run changes nothing.
    """
    home = into / tree_id()
    if not home.exists():
        draft = into / f"{home.name}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(
            HARNESS_DIR, draft / "harness", ignore=shutil.ignore_patterns("__pycache__", ".*")
        )
        draft.rename(home)
    return home


def _torch() -> str:
    try:
        return version("torch").split("+")[0]
    except PackageNotFoundError:
        return "-none"


def _tree(folder: Path) -> bytes:
    entries: list[tuple[bytes, bytes]] = []
    for path in folder.iterdir():
        if path.name == "__pycache__" or path.name.startswith("."):
            continue
        if path.is_dir():
            # git sorts a folder as if its name ended in a slash, and has no empty folders
            if any(True for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
                name = path.name.encode()
                entries.append((name + b"/", b"40000 " + name + b"\0" + _tree(path)))
        else:
            mode = b"100755" if path.stat().st_mode & 0o100 else b"100644"
            entries.append(
                (path.name.encode(), mode + b" " + path.name.encode() + b"\0" + _blob(path))
            )
    return _hash(b"tree", b"".join(line for _, line in sorted(entries)))


def _blob(path: Path) -> bytes:
    return _hash(b"blob", path.read_bytes())


def _hash(kind: bytes, body: bytes) -> bytes:
    header = kind + b" " + str(len(body)).encode() + b"\0"
    return hashlib.sha1(header + body, usedforsecurity=False).digest()
