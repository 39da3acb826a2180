"""The cap on the memory that a process may allocate on a GPU that it shares.

Not covered: it holds for torch's allocator, in a process that does not lift it, and for each
process separately.
"""

from __future__ import annotations

import torch

CONTEXT_BYTES = 1 << 30
"""Memory of a process's CUDA context with cuBLAS and compiled kernels: about half of this."""


def cap_gpu_memory(share: float) -> None:
    """Let torch allocate a share of the GPU's memory, less what CUDA holds for the process."""
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(max(share / 2, share - CONTEXT_BYTES / total))
