"""Work on a finished run: select, re-measure, merge, verify.

Imported by cli and simulation.
"""
