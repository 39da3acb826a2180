"""Git: the only I/O of `islands`. Imported by swarm.

- `plumbing` runs git on one repository with hooks, filters and drivers off.
- `branches` reads genomes and commits candidates.
- `commit_stream` writes one commit as input of `git fast-import` (pure).
- `refs` names a run's refs, moves its branches by compare-and-swap, brings them in line with the
  ledger.
- `packs` keeps candidates without refs, so that graph tools show few.
- `export` writes a genome's files to a folder for a trial.
"""
