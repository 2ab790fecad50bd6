"""Read the rank of this process from the environment, where its launcher has set it."""

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
"""Environment variable: seconds that processes wait for all others."""
_LEAST = 60
"""Fewest seconds that they wait if the variable is not set."""
_BEGAN = time.monotonic()
_ADDRESS, _PORT = "MASTER_ADDR", "MASTER_PORT"
_LOCAL = "LOCAL_RANK"
_LSF = ("LSB_JOBID", "LSB_DJOB_RANKFILE", "JSM_NAMESPACE_LOCAL_RANK", "JSM_NAMESPACE_SIZE")


class _Starter(NamedTuple):
    """The variables by which a launcher numbers its processes.

    Attributes:
        ranks: Variables with the rank.
        size: Variable with the number of processes.
        needed: Variables without which the processes never meet.
        own: Whether the launcher is Lightning itself, which starts the missing processes.
    """

    ranks: tuple[str, ...]
    size: str
    needed: tuple[str, ...] = ()
    own: bool = False


def rank_of(devices: int, num_nodes: int) -> int:
    """The rank of this process among the requested processes.

    The launcher sets it in the environment, from which Lightning reads it by the same rules. If one
    process is requested, the environment is ignored: a scheduler also numbers processes that do not
    belong together.

    Args:
        devices: Processes per node.
        num_nodes: Nodes.

    Raises:
        OptionError: If a variable holds no rank, or the variables are for another number of
            processes: this process and the others would wait for each other for ever.
    """
    count = devices * num_nodes
    if count == 1:
        return 0
    starter, flags = _starter(), f"--devices {devices} --num-nodes {num_nodes}"
    numbers = [_number(name) for name in starter.ranks]
    rank = numbers[0] * devices + numbers[1] if starter.own else numbers[0]
    if rank >= count:
        raise OptionError(
            f"the environment has {_said(starter.ranks)}, so that this process is rank {rank}; "
            f"{flags} asks for ranks 0 to {count - 1}. Unset it, or ask for as many as there are."
        )
    if starter.own and _LOCAL not in os.environ:
        return rank  # Lightning starts the others itself
    if (processes := _number(starter.size, count)) != count:
        are = "is 1 process" if processes == 1 else f"are {processes} processes"
        raise OptionError(
            f"the environment has {_said([starter.size])}, so that there {are}; {flags} asks for "
            f"{count}. Unset it, or ask for as many as there are."
        )
    if lacking := [name for name in starter.needed if name not in os.environ]:
        first = _said([name for name in (*starter.ranks, starter.size) if name in os.environ])
        raise OptionError(
            f"the environment has {first or 'TORCHELASTIC_RUN_ID'} and no {lacking[0]}, without "
            f"which the {count} processes of {flags} never meet. Unset the first, or set both."
        )
    return rank


def settle_meeting(num_nodes: int) -> None:
    """Set the address at which the processes meet, if no scheduler has started this one.

    On one node Lightning starts the others at a free port of this machine. An address and a port
    that the environment happens to hold are removed.

    Raises:
        OptionError: If several nodes are requested and the environment has no address.
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


def starts_others(devices: int, num_nodes: int) -> bool:
    """Whether this process starts all others that were asked for, and has not done so yet."""
    return num_nodes == 1 and devices > 1 and _starter().own and _LOCAL not in os.environ


class NobodyCameError(OptionError):
    """Not all requested processes have connected to the address at which they meet."""

    def __init__(self, size: int, seconds: float) -> None:
        starter = _starter()
        variables = _said([*starter.ranks, starter.size, _ADDRESS, _PORT])
        super().__init__(
            f"waited {seconds:.0f} s for the other {counted(size - 1, 'process')} where they are "
            f"to meet, and not all came; the environment has {variables}. If nothing has started "
            f"them, unset these; if they take longer, set {MEET} to the seconds to wait."
        )


def meeting_seconds() -> float:
    """Seconds to wait until all processes have connected.

    The environment sets them. Otherwise they are more than this process took to get here: each
    process makes its own plan, and one that this process has just started begins from scratch.

    Raises:
        OptionError: If the variable in the environment is no such number.
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
    """Whether a server accepts a connection within some seconds.

    torch tries it too, but prints its own stack for every failure.
    """
    until = time.monotonic() + seconds
    while (remaining := until - time.monotonic()) > 0:
        try:
            socket.create_connection((address, port), timeout=remaining).close()
        except (OSError, OverflowError):
            time.sleep(0.1)
        else:
            return True
    return False


def _starter() -> _Starter:
    """The launcher of this process, by Lightning's rules."""
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
