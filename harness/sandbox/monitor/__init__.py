"""Watches sandboxes from outside: memory, CPU, GPU, disk, descendants.

Imported by sandbox.boot and above.
"""
