"""Scripts that run inside sandboxes, beside candidate code. Never imported by the harness."""
