"""This process's place among those of a command, as whoever started it says in the environment."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

from susx_bench.console import counted
from susx_bench.errors import OptionError

MEET = "SUSX_BENCH_MEET"
"""Environment variable: seconds that processes wait until all are there."""
_LEAST = 60
"""Seconds that they wait in any case, where nobody says."""
_BEGAN = time.monotonic()
_ADDRESS, _PORT = "MASTER_ADDR", "MASTER_PORT"
_LOCAL = "LOCAL_RANK"
_LSF = ("LSB_JOBID", "LSB_DJOB_RANKFILE", "JSM_NAMESPACE_LOCAL_RANK", "JSM_NAMESPACE_SIZE")


class _Starter(NamedTuple):
    """The variables by which whoever starts processes numbers them.

    Attributes:
        ranks: Variables that say the rank.
        size: Variable that says how many processes there are.
        needed: Variables without which the processes never meet.
        own: Whether they are Lightning's own, which starts the processes that are missing.
    """

    ranks: tuple[str, ...]
    size: str
    needed: tuple[str, ...] = ()
    own: bool = False


def rank_of(devices: int, num_nodes: int) -> int:
    """This process's place among the processes that were asked for.

    Whoever started them says it in the environment, and Lightning reads it there by the same
    rules. Where one process was asked for the environment says nothing: a scheduler numbers also
    the processes that have nothing to do with each other.

    Args:
        devices: Processes a node.
        num_nodes: Nodes.

    Raises:
        OptionError: If a variable holds no rank, or the variables are not those of so many
            processes: the others would wait for this process for ever, or it for them.
    """
    count = devices * num_nodes
    if count == 1:
        return 0
    starter, asked = _starter(), f"--devices {devices} --num-nodes {num_nodes}"
    numbers = [_number(name) for name in starter.ranks]
    rank = numbers[0] * devices + numbers[1] if starter.own else numbers[0]
    if rank >= count:
        raise OptionError(
            f"the environment has {_said(starter.ranks)}, so that this process is rank {rank}; "
            f"{asked} asks for ranks 0 to {count - 1}. Unset it, or ask for as many as there are."
        )
    if starter.own and _LOCAL not in os.environ:
        return rank  # Lightning starts the others itself
    if (there := _number(starter.size, count)) != count:
        are = "is 1 process" if there == 1 else f"are {there} processes"
        raise OptionError(
            f"the environment has {_said([starter.size])}, so that there {are}; {asked} asks for "
            f"{count}. Unset it, or ask for as many as there are."
        )
    if lacking := [name for name in starter.needed if name not in os.environ]:
        first = _said([name for name in (*starter.ranks, starter.size) if name in os.environ])
        raise OptionError(
            f"the environment has {first or 'TORCHELASTIC_RUN_ID'} and no {lacking[0]}, without "
            f"which the {count} processes of {asked} never meet. Unset the first, or set both."
        )
    return rank


def settle_meeting(num_nodes: int) -> None:
    """Settle where the processes meet, where no scheduler has started this one.

    On one node Lightning starts the others at a free port of this machine: an address and a port
    that something else left in the environment are forgotten.

    Raises:
        OptionError: If there are several nodes, and nothing says where they meet.
    """
    if not _starter().own:
        return
    if num_nodes > 1 and _PORT not in os.environ:
        raise OptionError(
            f"--num-nodes {num_nodes}: no scheduler has started this process, and the environment "
            "does not say where the nodes meet. Set MASTER_ADDR, MASTER_PORT and NODE_RANK on "
            "each of them."
        )
    if num_nodes == 1 and _LOCAL not in os.environ:
        for name in (_ADDRESS, _PORT):
            os.environ.pop(name, None)


class NobodyCameError(OptionError):
    """Not all processes that were asked for came to where they meet."""

    def __init__(self, size: int, seconds: float) -> None:
        starter = _starter()
        said = _said([*starter.ranks, starter.size, _ADDRESS, _PORT])
        super().__init__(
            f"waited {seconds:.0f} s for the other {counted(size - 1, 'process')} where they are "
            f"to meet, and not all came; the environment has {said}. If nothing has started them, "
            f"unset these; if they take longer, set {MEET} to the seconds to wait."
        )


def meeting_seconds() -> float:
    """How long to wait until all processes are there.

    What the environment says; else longer than this process took to come here, as each of them
    plans for itself, one that this one has started from the beginning.

    Raises:
        OptionError: If the environment says no such number.
    """
    text = os.environ.get(MEET)
    if text is None:
        return _LEAST + 2 * (time.monotonic() - _BEGAN)
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise OptionError(
            f"the environment has {MEET}='{text[:60]}'; it is a number of seconds from 1 to 999999."
        )
    return int(text)


def answers(address: str, port: int, seconds: float) -> bool:
    """Whether somebody takes a connection in so many seconds.

    torch would ask as well, and print its own stack for every time that nobody does.
    """
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        try:
            socket.create_connection((address, port), timeout=left).close()
        except (OSError, OverflowError):
            time.sleep(0.1)
        else:
            return True
    return False


def _starter() -> _Starter:
    """Whoever started this process, by the rules of Lightning's."""
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun, also inside SLURM
        return _Starter(("RANK",), "WORLD_SIZE", ("RANK", _LOCAL, "WORLD_SIZE", _PORT))
    started_by_hand = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    if "SLURM_NTASKS" in os.environ and not started_by_hand:
        needed = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS_PER_NODE")
        return _Starter(("SLURM_PROCID",), "SLURM_NTASKS", needed)
    if set(_LSF) <= set(os.environ):
        return _Starter(("JSM_NAMESPACE_RANK",), "JSM_NAMESPACE_SIZE", ("JSM_NAMESPACE_RANK",))
    if find_spec("mpi4py") and "OMPI_COMM_WORLD_RANK" in os.environ:
        return _Starter(("OMPI_COMM_WORLD_RANK",), "OMPI_COMM_WORLD_SIZE")
    node = "NODE_RANK" if "NODE_RANK" in os.environ else "GROUP_RANK"
    return _Starter((node, _LOCAL), "WORLD_SIZE", (_PORT,), own=True)


def _said(names: Sequence[str]) -> str:
    return ", ".join(f"{name}={os.environ[name]}" for name in names if name in os.environ)


def _number(name: str, default: int = 0) -> int:
    text = os.environ.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", text):
        raise OptionError(f"the environment has {name}='{text[:60]}', which is no rank. Unset it.")
    return int(text)
