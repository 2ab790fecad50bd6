"""`python -m susx_bench` is `susx-bench`."""

from susx_bench.cli import main

if __name__ == "__main__":
    main()
