"""Which bundles to fetch before they are active, so that their promotion costs no byte; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ayon_async import model
from ayon_async.choice import BundleChoice
from ayon_async.errors import BundleError
from ayon_async.resolve import choose_bundle
from ayon_async.settings import Prefetch


@dataclass(frozen=True, slots=True)
class Ahead:
    """A bundle to fetch.

    Attributes:
        name: Its name.
        choice: What means it.
        content: What it names; the same name with another content is another bundle to fetch.
    """

    name: str
    choice: BundleChoice
    content: str


def bundles_ahead(
    bundles: model.Bundles, choice: BundleChoice, user: str | None, prefetch: Prefetch
) -> tuple[Ahead, ...]:
    """The bundles to fetch, staging first, then the newest.

    Of *all* bundles these are the studio's that came after the active one: those before it have had their time, and
    a developer's is nobody else's.

    Args:
        choice: What is followed.
        user: Who is signed in.
    """
    if prefetch == "off":
        return ()
    try:
        active = choose_bundle(bundles, choice, user).bundle
    except BundleError:
        return ()
    found = {}
    staging = replace(choice, bundle=None, dev=False, staging=True)
    if staging != choice:
        for bundle in bundles.bundles:
            if not bundle.is_archived and not bundle.is_project and _is_staging(bundles, bundle):
                found[bundle.name] = Ahead(bundle.name, staging, _content(bundle))
    if prefetch == "all":
        since = _created(active)
        later = [bundle for bundle in bundles.bundles if _is_ready(bundle) and _created(bundle) > since]
        for bundle in sorted(later, key=_created, reverse=True):
            named = replace(choice, bundle=bundle.name, dev=False, staging=False)
            found.setdefault(bundle.name, Ahead(bundle.name, named, _content(bundle)))
    found.pop(active.name, None)
    return tuple(found.values())


def _is_staging(bundles: model.Bundles, bundle: model.Bundle) -> bool:
    return bundle.name == bundles.staging_bundle or (bundles.staging_bundle is None and bundle.is_staging)


def _is_ready(bundle: model.Bundle) -> bool:
    return not (bundle.is_archived or bundle.is_project or bundle.is_dev)


def _created(bundle: model.Bundle) -> datetime:
    """When the bundle was made; one of which that is not known came before all others."""
    try:
        made = datetime.fromisoformat(bundle.created_at or "")
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _content(bundle: model.Bundle) -> str:
    return repr((sorted(bundle.addons.items()), sorted((bundle.dependency_packages or {}).items())))
