"""The coordinator and the command line.

Imports analysis, islands and harness; nobody imports it.
"""
