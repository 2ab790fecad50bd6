"""The environment of all tests, before anything that reads it is imported."""

import atexit
import os
import shutil
import tempfile

# The caches of `datasets` and `huggingface_hub` stay out of the user's home.
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="susx-bench-tests-")
atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)

# Workers of pytest-xdist share the cores; what they start inherits it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
