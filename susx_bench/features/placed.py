"""The devices and the folders that the options of a command select."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from susx_bench.data.spec import Where
from susx_bench.features.launch import Launch


class Placed:
    """Base of the options of a command that runs on devices and reads images.

    Such a command is ``run`` or ``support build``. Each declares these options itself, because
    their order is the order of its help.
    """

    if TYPE_CHECKING:  # at run time they are fields of the command
        devices: int
        num_nodes: int
        accelerator: str
        batch_size: int
        workers: int | None
        data_root: Path | None
        source: str
        split_file: Path | None
        image_column: str | None
        label_column: str | None
        classnames: Path | None

    @property
    def launch(self) -> Launch:
        """The devices to run on."""
        return Launch(self.devices, self.num_nodes, self.accelerator, self.batch_size, self.workers)

    @property
    def where(self) -> Where:
        """Where the images of a dataset are searched for."""
        return Where(
            root=self.data_root,
            source=self.source,
            split_file=self.split_file,
            image_column=self.image_column,
            label_column=self.label_column,
            classnames=self.classnames,
        )
