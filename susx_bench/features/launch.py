"""Where and how predictions run; nothing here imports Lightning."""

from __future__ import annotations

from dataclasses import dataclass

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
