"""The contract that every method passes, for the tests of those who write one.

Inherit it::

    from susx_bench.testing import MethodContract

    class TestMine(MethodContract):
        method = Mine

or put it to any method that ``--method`` of ``susx-bench run`` accepts::

    pytest -p susx_bench.testing --pyargs susx_bench.testing --method NAME
    pytest -p susx_bench.testing --pyargs susx_bench.testing --method ./file.py:Class

Nothing else in susx_bench imports pytest.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("susx_bench.testing.contract", "susx_bench.testing.probes")

from susx_bench.testing.contract import MethodContract  # noqa: E402

__all__ = ["MethodContract"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--method``."""
    parser.addoption("--method", help="Method to put susx-bench's contract to: NAME or FILE:Class.")
