"""The record: the ledger, the lineage graph and the questions asked of them."""
