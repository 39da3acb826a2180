"""How long sandboxes take to die: `python -m tests.benchmarks.bench_endings`, as root.

Programs hold as much as they may of what takes the kernel time to take back, until their deadline.
Prints the CPU time, of all processes together, from the kill until nothing of the sandbox is left:
on a core of its own that is how late it is gone.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from harness.contract import Slice
from harness.cpus import usable_cores
from harness.sandbox import SandboxPolicy, Zygote, python_argv, run
from harness.sandbox.kinds import base
from tests.benchmarks.bench_start import Meter

HOLDS = {
    "nothing": "",
    "files": "n = 0\nwhile True: open(f'/dev/shm/{n}', 'w').close(); n += 1",
    "nested folders": "os.chdir('/tmp')\nwhile True: os.mkdir('d'); os.chdir('d')",
    "memory": "held = bytearray(900 << 20)",
    "mappings": "held = [mmap.mmap(-1, 4096, prot=1 + n % 2) for n in range(60000)]",
    "full pipes": "held = [os.write(os.pipe()[1], bytes(65536)) for _ in range(370)]",
    "threads": "[threading.Thread(target=time.sleep, args=(99,)).start() for _ in range(60)]",
    "processes": "held = bytearray(10 << 20)\nfor _ in range(6): os.fork()",
    "one memory in 32 processes": "held = mmap.mmap(-1, 400 << 20)\nheld.write(bytes(400 << 20))\n"
    "for _ in range(5): os.fork()\nfor n in range(0, 400 << 20, 4096): held[n]",
    "a full disk": "file = open('/tmp/x', 'wb')\n"
    "while True: file.seek(0); file.write(bytes(1 << 24))",
}


def main(seconds):
    """Print a line for each thing held."""
    meter, finish, took = Meter(), base.finish, []

    def timed(*args):
        before = meter.milliseconds()
        finish(*args)
        took.append(meter.milliseconds() - before)

    base.finish = timed
    policy = SandboxPolicy(Slice("a", "cpu", tuple(usable_cores()[:1])), seconds, 1024)
    try:
        with tempfile.TemporaryDirectory() as folder, Zygote(policy.slice, ("json",)) as zygote:
            Path(folder).chmod(0o755)
            program, log = Path(folder, "program.py"), Path(folder, "log")
            for name, code in HOLDS.items():
                imports = "import mmap, os, threading, time"
                program.write_text(f"{imports}\n{code}\ntime.sleep(99)")
                ended = run(policy, python_argv(program), log, zygote)
                how = f"{ended.killed or 'ended'}, held {ended.peak_mib:.0f} MiB"
                print(f"{name:28} {took[-1]:6.0f} ms of CPU time to die ({how})", flush=True)
    finally:
        meter.close()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.5)
