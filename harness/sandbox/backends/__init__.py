"""How one process is confined: bubblewrap, Landlock, seccomp, uids, devices.

Imported by sandbox.boot and above.
"""
