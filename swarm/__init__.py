"""The coordinator and the command line.

Imports analysis, islands and harness; none of them imports this package.
"""
