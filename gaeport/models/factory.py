"""From field types to NDB properties, from a table's fields to an NDB model."""

from collections.abc import Iterable
from typing import Any

from gaeport.datastore.field_types import FieldType, folded_name, parse_type
from gaeport.errors import FieldError

# Attributes of every NDB model; a field of that name gets an underscore after it.
_TAKEN = ("key", "query", "put", "get_by_id", "allocate_ids", "gql", "populate", "to_dict", "has_complete_key")


def property_for(
    field_type: Any, name: str | None = None, *, length: int | None = None, indexed: bool | None = None, **options: Any
) -> Any:
    """Return the NDB property for a web2py field type; it stores what the DAL stores for such a field.

    Args:
        field_type: such as "string", "decimal(10,2)", "list:reference person", or a pyDAL SQLCustomType.
        name: the property's name in Datastore; by default that of the model's attribute.
        length: characters; a string of more than 1,500 is kept out of the indexes, which hold no longer ones.
        indexed: whether values get into the indexes; None: text, password, upload, blob and json do not, others do.
        **options: what NDB's properties take: required, default, choices, validator, verbose_name.

    Returns:
        A property: repeated for the list types, IdProperty for "id", otherwise of the type's own class.

    Raises:
        FieldError: the type is unknown, is geometry, or cannot be indexed.
    """
    from gaeport.models import properties

    if hasattr(field_type, "encoder"):
        base, arguments, preset = _class_for(parse_type(field_type.type, length=length, indexed=indexed))
        made: Any = properties.customized(base, field_type.encoder, field_type.decoder)
    else:
        kind = parse_type(field_type, length=length, indexed=indexed)
        if kind.is_id:
            return properties.IdProperty()
        made, arguments, preset = _class_for(kind)
    return made(*arguments, name, **{**preset, **options})


def _class_for(kind: FieldType) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """Return the property class for a type, what comes before the name, and the options that belong to the type."""
    from google.cloud import ndb

    from gaeport.models import properties

    if kind.name == "decimal":
        if kind.scaled:
            return properties.DecimalProperty, (kind,), {"indexed": kind.indexed}
        if not kind.indexed:
            raise FieldError(
                f"decimal({kind.precision},{kind.scale}) is kept as indexed text; indexed=False is not for it"
            )
        return properties.LongDecimalProperty, (kind,), {}
    element = kind.name.removeprefix("list:")
    preset: dict[str, Any] = {"repeated": True, "write_empty_list": True} if kind.is_list else {}
    if element in ("string", "text", "password", "upload"):
        return (ndb.StringProperty if kind.indexed else ndb.TextProperty), (), preset
    if element in ("json", "jsonb"):
        return ndb.JsonProperty, (), preset
    if element == "blob":
        return ndb.BlobProperty, (), preset
    classes = {
        "boolean": ndb.BooleanProperty,
        "double": ndb.FloatProperty,
        "float": ndb.FloatProperty,
        "date": ndb.DateProperty,
        "time": ndb.TimeProperty,
        "datetime": ndb.DateTimeProperty,
    }
    # What is left is an integer, or a reference, which is the id of the entity that it points to.
    return classes.get(element, ndb.IntegerProperty), (), {**preset, "indexed": kind.indexed}


def model_for(name: str, fields: Iterable[Any]) -> Any:
    """Return an NDB model class whose entities are the rows of a web2py table.

    Args:
        name: the kind; the table's name.
        fields: pyDAL Fields (a pyDAL Table is an iterable of them), or tuples (name, type) or (name, type, options)
            with the options of `property_for`. Field attributes that count: type, length, rname, indexed, folded.
            Virtual fields are left out. The id field becomes an IdProperty; where there is none, "id" is added.

    Raises:
        FieldError: a field has a type without a place in Datastore.
    """
    from google.cloud import ndb

    attributes: dict[str, Any] = {"id": property_for("id")}
    for field in fields:
        field_name, field_type, stored, options = _parts(field)
        if field_type is None:
            continue
        attribute = f"{field_name}_" if field_name in _TAKEN else field_name
        made = property_for(field_type, stored, **options)
        if isinstance(field_type, str) and parse_type(field_type).is_id:
            attributes.pop("id", None)
        attributes[attribute] = made
        if getattr(field, "folded", False):
            attributes[f"{attribute}_folded"] = _folded(attribute, stored, made)
    return type(str(name), (ndb.Model,), attributes)


def _folded(attribute: str, stored: str, of: Any) -> Any:
    """Return the property that holds the value of another in lower case, as the DAL keeps it."""
    from google.cloud import ndb

    def lowered(entity: Any) -> Any:
        value = getattr(entity, attribute)
        return [item.lower() for item in value] if isinstance(value, list) else value and value.lower()

    return ndb.ComputedProperty(lowered, name=folded_name(stored), indexed=True, repeated=of._repeated)


def _parts(field: Any) -> tuple[str, Any, str, dict[str, Any]]:
    """Return a field's name, type (None for a virtual one), property name and options."""
    if isinstance(field, tuple):
        field_name, field_type, *rest = field
        return field_name, field_type, field_name, dict(rest[0]) if rest else {}
    referent = getattr(field, "referent", None)
    keyed = referent is not None and hasattr(referent.table, "_primarykey")
    holds = referent if keyed else field  # a reference to a table with a primarykey holds a value of the key
    field_type = getattr(holds, "type", None)
    options = {"length": getattr(holds, "length", None), "indexed": getattr(field, "indexed", None)}
    stored = (getattr(field, "_raw_rname", None) or field.name).strip('"')
    return field.name, field_type, stored, options
