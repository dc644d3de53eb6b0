"""``python -m ayon_async`` is the command ``ayon-async``."""

from __future__ import annotations

from ayon_async.cli import main

if __name__ == "__main__":
    main()
