"""Decides whether a candidate is kept, discarded or confirmed; any package above may import it.

- `acceptance` is the interface of rules; `lfsr` is the product's rule, `fixed_margin` the rule for
  `fdr: 0` and noiseless metrics. A keep is decided in their `decide`.
- `noise`, `spread` and `prior` are the statistics behind it; `screening` collects the gains for the
  prior.
- `guards` can turn a keep into a discard; `policy` holds the user's settings; `ladder` rounds the
  scores that agents see.

islands/scheduling calls it, swarm/coordinator/island_loop.py records the verdict.
"""
