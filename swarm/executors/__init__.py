"""Executors: where trials run. Imported by coordinator and the packages above it.

- `base` is the interface; `local` runs trials on this machine, `ray` and `ray_node` on a Ray
  cluster.
- `backends` chooses between them. A new executor is a module with an `Executor` and a `Backend`,
  and a line in `backends.open_backend`.
- `slices` and `nvml` find a machine's slices; `slice_metrics` measures their noise and speed.
- `harness_process` talks to the trusted process that runs trials; `preflight` checks candidates in
  such processes beside the slices.
- `model_door` lets trials ask the problem's model; `workbench` runs trials outside of any run.
- `require_sandbox` refuses to run where the sandbox does not hold.
"""
