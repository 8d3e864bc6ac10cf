"""The catalog: what is known of every media item and of what was made from it."""

from kinstream.catalog.database import migrate, open_catalog
from kinstream.catalog.records import Claim, Item, NewItem, Rendition, State
from kinstream.catalog.repositories import MediaRepository

__all__ = ["Claim", "Item", "MediaRepository", "NewItem", "Rendition", "State", "migrate", "open_catalog"]
