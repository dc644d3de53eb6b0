"""Which bundle a person asked for, before anything is known of the server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BundleChoice:
    """Which bundle to use; production where nothing is chosen.

    Attributes:
        bundle: Name of the studio bundle; it then decides alone, and `dev` and `staging` are False.
        dev: The dev bundle of the signed-in user.
        staging: The staging bundle; False where `dev` is True.
        project: Project whose own bundle is merged over the studio's.
        project_bundle: Name of the project bundle to merge over the studio's; `project` is then None.
    """

    bundle: str | None = None
    dev: bool = False
    staging: bool = False
    project: str | None = None
    project_bundle: str | None = None
