"""The lines by which `launch` tells a person what to expect of this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness import tasks
from islands.state.contention import NOTABLE_SLOWDOWN
from swarm.cli.console import plural
from swarm.coordinator.launch_plan import Launch
from swarm.executors.machine_limits import BUSY_SHARE, CpuLoad, MachineLimits


def machine_lines(
    launch: Launch,
    load: CpuLoad,
    taken: Mapping[int, str],
    limits: MachineLimits = MachineLimits(),  # noqa: B008  # frozen
) -> Iterator[str]:
    """Yield a line for each thing that will make trials slow or void."""
    slices = {island.slice for island in launch.islands}
    cores = {core for slice_ in slices for core in slice_.cores}
    for who in dict.fromkeys(taken.values()):
        held = [str(core) for core, holder in sorted(taken.items()) if holder == who]
        named = f"core {held[0]}" if len(held) == 1 else f"cores {', '.join(held)}"
        yield f"another run ({who}) has {named}: trials of both will take longer"
    yield from _busy_lines(launch, load.of(cores))
    quota = limits.cpu_quota()
    if quota is not None and quota < len(cores):
        yield (
            f"the CPU quota here is {quota:g} of {plural(len(cores), 'core')}: trials will be"
            f" throttled; use `--islands {max(1, int(quota))}`"
        )
    memory, wanted = limits.memory_mib(), len(slices) * launch.opening.rungs[0].memory_mib
    if memory is not None and wanted > memory:
        yield (
            f"{plural(len(slices), 'slice')} may hold {wanted} MiB together and this machine has"
            f" {memory}: lower `memory_mib` of the first rung, or use fewer islands"
        )


def _busy_lines(launch: Launch, load: CpuLoad) -> Iterator[str]:
    if load.share < BUSY_SHARE:
        return
    seconds = launch.opening.rungs[0].seconds
    fills = not tasks.kind(launch.opening.task).required  # a command may end long before its limit
    each = ", ".join(f"core {core} {busy:.0%}" for core, busy in sorted(load.busy.items()))
    free = sum(busy < BUSY_SHARE for busy in load.busy.values())
    # a fair share against one busy program a core, or against all that are ready to run now
    least = max(NOTABLE_SLOWDOWN, 1 + load.share)
    most = max(least, 1 + load.ready)
    longer = f"trials will take about {least:.1f} to {most:.1f} times as long"
    if fills:
        about = f"{least * seconds:.0f} to {most * seconds:.0f}"
        longer = f"trials of {seconds:g} s will take about {about} s"
    yield (
        f"others use this machine ({each}): {longer}, and scores are noisier, since caches are"
        " shared"
    )
    if 0 < free < len(load.busy):
        yield f"`--islands {free}` would use the idle cores alone"
    elif not free:
        or_longer = ", or give trials longer budgets (`seconds` of the rungs)" if fills else ""
        yield f"stop what else runs{or_longer}"
