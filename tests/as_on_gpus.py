"""The command line as on a machine with a GPU per process: they measure together, on CPUs."""

from susx_bench.cli import main
from susx_bench.features.launch import Launch

if __name__ == "__main__":
    Launch.on_cpu = property(lambda self: False)  # type: ignore[assignment, method-assign]
    main()
