"""The fold of the ledger; each subject folds its own part. Imported by scheduling and swarm."""
