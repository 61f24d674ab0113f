"""How many processor cores this process may use."""

import os


def cores() -> int:
    """Processor cores of this process: what srun gave it, or its share of the cores that all processes here may use."""
    if "SLURM_CPUS_PER_TASK" in os.environ and "TORCHELASTIC_RUN_ID" not in os.environ:  # else torchrun shares them out
        return int(os.environ["SLURM_CPUS_PER_TASK"])
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
