"""What holds for all tests."""

from __future__ import annotations

import os

# Tests start this program hundreds of times: without bytecode on disk each start compiles all of it anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
