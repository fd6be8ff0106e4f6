"""web2py's field types as NDB properties, and NDB models made from a table's fields."""

from gaeport.models.factory import model_for, property_for

__all__ = ["model_for", "property_for"]
