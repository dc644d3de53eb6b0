"""What holds for all tests."""

from __future__ import annotations

import os
import signal

# Tests start this program hundreds of times: without bytecode on disk each start compiles all of it anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# No test touches the keyring of who runs it. Where one asks for a backend before any is chosen, the best of all classes
# there are is, and those that a test module defines are among them: they forgot tokens that other tests relied on.
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"

# What a shell starts in the background ignores Ctrl-C, and so would the programs that tests start to interrupt them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
