"""The code that runs inside a sandbox before anything hostile does.

Started by path with `python -I -S -B`, so it imports only the standard library and itself.
Imported by sandbox.backends and above for the protocol's constants.
"""
