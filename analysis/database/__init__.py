"""lineage.duckdb, the projection of the ledger: schema, rows, refresh, queries.

Imported by swarm.
"""
