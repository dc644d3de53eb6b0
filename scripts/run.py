"""Make the environment where it is missing, then do the main job: python3 scripts/run.py [ARGUMENT …]

Without arguments: the demo. With arguments: the command ``ayon-async`` with just these.
"""

from __future__ import annotations

import sys

from environment import CHECKOUT, become, prepare

if __name__ == "__main__":
    wanted = "tray" if sys.argv[1:2] == ["tray"] else "run"
    python = prepare(wanted, CHECKOUT / ("requirements-tray.txt" if wanted == "tray" else "requirements.txt"))
    # -I: neither the folder this is started in nor a studio's PYTHONPATH may put other modules in the way.
    become([str(python), "-I", "-m", "ayon_async", *(sys.argv[1:] or ["demo"])])
