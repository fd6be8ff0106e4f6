"""`[bundle]`: what `gcloud app deploy` uploads; read by `gaeport bundle`, not by a running application."""

from dataclasses import dataclass

from gaeport.settings.checking import as_table, check


@dataclass(frozen=True, slots=True)
class BundleSettings:
    """The `[bundle]` table of gaeport.toml.

    Attributes:
        ignore: patterns, as .gcloudignore has them, of what is not uploaded, besides what is left out by default.
        keep: patterns of what is uploaded although another pattern leaves it out.
        defaults: whether tests, docs, caches, virtual environments, secrets and the like are left out.
    """

    ignore: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    defaults: bool = True


def bundle_settings(table: object, place: str) -> BundleSettings:
    """Check a `[bundle]` table and return it frozen. Raises ConfigurationError."""
    given = as_table(table, "bundle", place)
    check(given, BundleSettings, place, "[bundle]")
    return BundleSettings(tuple(given.get("ignore", ())), tuple(given.get("keep", ())), given.get("defaults", True))
