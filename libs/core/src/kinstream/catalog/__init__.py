"""The catalog: what is known of every media item and of what was made from it."""

from kinstream.catalog.database import migrate, open_catalog, open_work
from kinstream.catalog.records import (
    Abandoned,
    Claim,
    Hold,
    Item,
    Missing,
    NewItem,
    NewStep,
    Rendition,
    Role,
    State,
    StepState,
    Task,
    VariantState,
)
from kinstream.catalog.repositories import MediaRepository, TooManyVariantsError
from kinstream.catalog.work import FINALIZE, MAIN, WorkRepository

__all__ = [
    "FINALIZE",
    "MAIN",
    "Abandoned",
    "Claim",
    "Hold",
    "Item",
    "MediaRepository",
    "Missing",
    "NewItem",
    "NewStep",
    "Rendition",
    "Role",
    "State",
    "StepState",
    "Task",
    "TooManyVariantsError",
    "VariantState",
    "WorkRepository",
    "migrate",
    "open_catalog",
    "open_work",
]
