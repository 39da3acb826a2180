"""The record: ledger, lineage graph, and queries on them. Imported by swarm."""
