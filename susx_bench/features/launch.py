"""Where and how predictions run; nothing here imports Lightning."""

from __future__ import annotations

from dataclasses import dataclass

from susx_bench.events import Listener, Note
from susx_bench.ranks import rank_of


@dataclass(frozen=True)
class Launch:
    """Where and how predictions run. Nothing here may change a prediction.

    Attributes:
        devices: Number of devices per node.
        num_nodes: Number of nodes.
        accelerator: Lightning's accelerator, ``auto``, ``cpu``, ``gpu`` ...
        batch_size: Rows that travel together.
        workers: Processes per rank that read and decode images; None for as many as it has cores.
    """

    devices: int = 1
    num_nodes: int = 1
    accelerator: str = "auto"
    batch_size: int = 256
    workers: int | None = None

    @property
    def processes(self) -> int:
        """Number of processes."""
        return self.devices * self.num_nodes

    @property
    def is_main(self) -> bool:
        """Whether this process is rank 0, which writes; before and after the processes launch."""
        return rank_of(self.devices, self.num_nodes) == 0

    @property
    def on_cpu(self) -> bool:
        """Whether the device is a CPU: the one that was asked for, or all that there is."""
        import torch

        other = torch.cuda.is_available() or torch.backends.mps.is_available()
        return self.accelerator == "cpu" or (self.accelerator == "auto" and not other)


def warn_of_slow_half(precision: str, launch: Launch, listen: Listener) -> None:
    """Send a warning where a model would compute in fp16 on a CPU."""
    if precision == "fp16" and launch.on_cpu:
        line = (
            "--precision fp16: a CPU has no fast convolution in fp16, it takes up to a hundred "
            "times as long as in fp32 or bf16. Stop, and say --precision bf16."
        )
        listen(Note(line, "warning"))
