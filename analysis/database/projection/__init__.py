"""Projection of a ledger onto the tables of `lineage.duckdb`. Imported by analysis and swarm.

A record names the digest of this folder, of the lineage (`analysis/lineage.py` and node_scores.py)
and of the events: where one of them has changed since, it is built anew when it is next read.
"""
