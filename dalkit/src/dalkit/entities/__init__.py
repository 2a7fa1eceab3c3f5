"""Rows as pydantic models: read, written, and checked against the reflected tables."""

from ..data.statements import fetch_entities, fetch_entity
from ..errors import UnknownColumn
from .check import EntityMismatch, check_entities
from .entity import Entity, ReadEntity

__all__ = [
    "Entity",
    "EntityMismatch",
    "ReadEntity",
    "UnknownColumn",
    "check_entities",
    "fetch_entities",
    "fetch_entity",
]
