"""The coordinator: one task tree that runs all islands. Imported by results, simulation and cli.

From a proposal to a commit on an island's branch:

1. `proposer` asks the island's agent with a `brief`, ahead of need by `prefetch`.
2. `candidates` admits the proposal (islands/genome/admission.py), commits it under a ref and runs a
   preflight; it rebases waiting candidates when the head moves.
3. `island_loop` asks islands/scheduling for the next step and executes it.
4. `trial_runner` runs each trial on the island's slice, by an executor (swarm/executors).
5. islands/ratchet judges; `island_loop` records the verdict; on a keep `branch_sync` moves the
   branch by compare-and-swap (islands/git/refs.py).

Around that:

- `assemble` builds a run from program.md and this machine, `task_tree` starts and ends it, `reopen`
  runs single steps on a stopped run.
- `run` is what islands share, with `limits`, `notifier` and `slice_choice`.
- `run_actions` executes run-level steps: stack checks, promotions, the consensus.
- `interfaces` and `launch_plan` hold the protocols and the data of a launch.
"""
