"""Where and how fast a command runs: types and ranges of this part of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from l2l_cli.core.ranges import at_least


@dataclass
class Hardware:
    """Where and how fast a command runs, never what it computes.

    Attributes:
        device: Device of all tensors, "cpu" or "cuda".
        threads: Number of threads per process.
        replicas: Number of processes that share the work of each step, each with its part of the batch.  Requires a
            learner that fits the task's model by gradients or Gauss-Newton products, such as ``hessian_free``, and a
            model without batch normalisation.  Each replica has ``threads`` threads, and on CUDA a GPU.
        world: Number of processes on this machine that meta-train one learner, each with its part of the episodes; a
            launcher such as torchrun starts them on several machines.  Each has ``threads`` threads, and on CUDA a GPU.
        processes: Number of runs that `reproduce` executes in parallel; null means one per usable core.
        deterministic: Whether operations with nondeterministic results are refused.
        precision: Type of a learned rule's states in GPU kernels; "bfloat16" halves their memory.
        cluster: Engine to which the command submits its runs as jobs before it returns: "slurm", or "local" for this
            machine; null runs them immediately.  The next seven keys describe such jobs.
        partition: Partition of the cluster; null means its default.
        account: Account that is charged; null means the user's default.
        minutes: Time limit of a job, after which it is queued again and continues.
        memory: Memory of a job in GB.
        gpus: Number of GPUs per job.
        array: Largest number of jobs that run at the same time.
        resubmit: Whether failed runs are submitted again.
        kernels: Choice of the path: "auto" uses compiled kernels where they exist and at least 100 meta-updates are to
            be made, "reference" never uses them, "fast" refuses to run without them.
    """

    device: str = "cpu"
    threads: int = 1
    replicas: int = 1
    world: int = 1
    processes: int | None = None
    deterministic: bool = True
    kernels: str = "auto"
    precision: str = "float32"
    cluster: str | None = None
    partition: str | None = None
    account: str | None = None
    minutes: int = 240
    memory: int = 4
    gpus: int = 0
    array: int = 32
    resubmit: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(
            1,
            hardware__threads=self.threads,
            hardware__replicas=self.replicas,
            hardware__world=self.world,
            hardware__processes=self.processes,
        )
        at_least(1, hardware__minutes=self.minutes, hardware__memory=self.memory, hardware__array=self.array)
        at_least(0, hardware__gpus=self.gpus)
        if self.cluster not in (None, "slurm", "local"):
            raise ValueError(f"hardware.cluster must be null, slurm or local, not {self.cluster!r}")
        if self.device.split(":")[0] not in ("cpu", "cuda"):
            raise ValueError(f"hardware.device must be cpu or cuda, not {self.device!r}")
        if self.kernels not in ("auto", "reference", "fast"):
            raise ValueError(f"hardware.kernels must be auto, reference or fast, not {self.kernels!r}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"hardware.precision must be float32 or bfloat16, not {self.precision!r}")
