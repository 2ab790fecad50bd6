"""`Trainer.predict` on any number of devices, joined by position on every one of them."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import threading
import warnings
from datetime import timedelta
from typing import Any, ClassVar

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from susx_bench.errors import BenchError, OptionError
from susx_bench.features.datamodules import BlockDataModule
from susx_bench.features.first import early
from susx_bench.features.launch import Launch
from susx_bench.process import children
from susx_bench.ranks import NobodyCameError, answers, meeting_seconds, settle_meeting


class Meeting(DDPStrategy):
    """Lightning's ``ddp`` with a time limit for the processes to meet; torch waits half an hour.

    Only the meeting has this limit. Afterwards processes wait for each other as in Lightning.

    Attributes:
        store: Where the processes have met; None before.
    """

    store: ClassVar[Store | None] = None

    def setup_distributed(self) -> None:
        """Meet the other processes.

        Raises:
            NobodyCameError: If a process does not arrive in time.
        """
        if not distributed.is_initialized():
            self.set_world_ranks()
            where = self.cluster_environment
            assert where is not None
            address, port = where.main_address, where.main_port
            os.environ |= {"MASTER_ADDR": address, "MASTER_PORT": str(port)}
            rank, size, seconds = where.global_rank(), where.world_size(), meeting_seconds()
            if rank and not answers(address, port, seconds):
                raise NobodyCameError(size, seconds)
            patience = timedelta(seconds=seconds)
            try:
                store, *_ = next(rendezvous("env://", rank, size, timeout=patience))
            except (distributed.DistError, ValueError) as error:
                raise NobodyCameError(size, seconds) from error
            store.set_timeout(self._timeout)
            Meeting.store = store
            if not rank:
                for name, text in early.items():
                    store.set(name, text)
                early.clear()
            backend, device = self._get_process_group_backend(), self.root_device
            distributed.init_process_group(
                backend,
                store=store,
                rank=rank,
                world_size=size,
                timeout=self._timeout,
                device_id=device if device.type != "cpu" else None,
            )
            if backend == "nccl":  # as Lightning: torch warns of a group that is left
                atexit.register(distributed.destroy_process_group)
        super().setup_distributed()


def met(launch: Launch) -> Store:
    """The store at which all processes of a launch have met; else they meet now."""
    if Meeting.store is None:
        strategy = trainer(launch).strategy
        assert isinstance(strategy, Meeting)
        assert strategy.launcher is not None
        strategy.launcher.launch(strategy.setup_environment)
        children.extend(getattr(strategy.launcher, "procs", ()))
    assert Meeting.store is not None
    return Meeting.store


def trainer(launch: Launch) -> Trainer:
    """A quiet Trainer for prediction alone.

    Raises:
        OptionError: If the machine has no such devices, or several nodes have no address to meet
            at.
    """
    settle_meeting(launch.num_nodes)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return Trainer(
            devices=launch.devices,
            num_nodes=launch.num_nodes,
            accelerator=launch.accelerator,
            strategy=Meeting() if launch.processes > 1 else "auto",
            # A single process belongs to no scheduler, even if Lightning detects one.
            plugins=[LightningEnvironment()] if launch.processes == 1 else None,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,  # the data module shares the blocks out itself
        )
    except (MisconfigurationException, ImportError, ValueError, RuntimeError) as error:
        # In Lightning's own words, "You requested gpu: [0, 1] but your machine only has: []".
        raise OptionError(
            f"--accelerator {launch.accelerator} --devices {launch.devices}: "
            f"{' '.join(str(error).split())}"
        ) from error


class _Started(Callback):
    """Restores our handler of SIGTERM: Lightning's own would only note the signal."""

    def __init__(self) -> None:
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        children.extend(getattr(trainer.strategy.launcher, "procs", ()))
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler)


class Join(Callback):
    """Puts each rank's rows into their places and sums over the ranks.

    Args:
        rows: Number of rows over all ranks.

    Attributes:
        joined: For each name `predict_step` returned, all rows in order; filled at the end.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.joined: dict[str, Tensor] = {}

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._times = torch.zeros(self.rows, dtype=torch.int64, device=pl_module.device)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        values: dict[str, Tensor] = dict(outputs)
        position = values.pop("position")
        real = position >= 0
        place = position[real]
        self._times[place] += 1
        for name, value in values.items():
            if name not in self.joined:
                self.joined[name] = value.new_zeros((self.rows, *value.shape[1:]))
            self.joined[name][place] = value[real]

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Every rank has zeros where it computed nothing, so a sum moves each value unchanged.
        times = trainer.strategy.reduce(self._times, reduce_op="sum")
        for name, value in self.joined.items():
            self.joined[name] = trainer.strategy.reduce(value, reduce_op="sum").cpu()
        if not bool((times == 1).all()):
            wrong = int((times != 1).sum())
            raise RuntimeError(f"{wrong} of {self.rows} rows were not computed exactly once")


class Predictor:
    """Runs modules one after another, all with one Trainer.

    Args:
        launch: Where to run.
    """

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._trainer: Trainer | None = None
        self._callbacks: list[Callback] = []

    def predict(self, module: LightningModule, data: BlockDataModule) -> dict[str, Tensor]:
        """Run a module's `predict_step` over all rows, each exactly once.

        Args:
            module: Its `predict_step` returns ``position`` and values with a row each.
            data: The rows.

        Returns:
            The values in the order of the rows, on the CPU, the same on every rank.
        """
        join = Join(len(data))
        self.run(module, data, join)
        return join.joined

    def run(self, module: LightningModule, data: BlockDataModule, callback: Callback) -> None:
        """Run a module's `predict_step` over the blocks of `data`; a callback takes its values.

        Raises:
            BenchError: The error that reading a row raised, from any worker process.
        """
        data.batch_size = self._launch.batch_size
        with warnings.catch_warnings():
            # We choose the number of workers; Lightning would rather have more.
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            # Lightning under the newest torch, about its own code.
            warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
            if self._trainer is None:
                self._trainer = trainer(self._launch)
                self._callbacks = list(self._trainer.callbacks)  # type: ignore[attr-defined]
            runner, self._trainer = self._trainer, None  # one that failed is not used again
            runner.callbacks = [*self._callbacks, _Started(), callback]  # type: ignore[attr-defined]
            try:
                runner.predict(module, datamodule=data, return_predictions=False)
            except SystemExit as error:
                if isinstance(error.__context__, KeyboardInterrupt):
                    raise KeyboardInterrupt from error  # Lightning turns it into a quiet exit
                raise
            except BenchError as error:
                # A worker process hands its traceback on as the message; ours is its last line.
                _, worker, message = str(error).rpartition(f"{type(error).__name__}: ")
                raise (type(error)(message.strip()) if worker else error) from error
            self._trainer = runner
