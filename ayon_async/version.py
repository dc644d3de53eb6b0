"""The one place where the version of ayon-async stands."""

__version__ = "0.1.0"
