"""The user's own input and storage: program.md, the git repository, the run folders.

Imported by executors and the packages above it.
"""
