"""Where trials run: slices, harness processes, Ray.

Imported by coordinator and the packages above it.
"""
