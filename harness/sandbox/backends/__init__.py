"""The means of confinement: bubblewrap, Landlock, seccomp, uids, devices.

Imported by sandbox.boot and above.
"""
