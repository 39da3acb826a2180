"""Reads the text of a genome: admission, diffs, categories, null edits.

Imported by git, state, scheduling and swarm.
"""
