"""The pyDAL adapter for `datastore://`.

It is pyDAL's SQLite adapter whose database is the scratch database, with reading and writing replaced: what Datastore
can serve never comes near SQLite.
"""

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any

from pydal.adapters import adapters
from pydal.adapters.sqlite import SQLite
from pydal.helpers.classes import Reference, SQLCustomType
from pydal.objects import Field, IterRows

from gaeport.dal import language, methods, schemes, scratch
from gaeport.dal.columns import columns_of
from gaeport.dal.errors import IntegrityError
from gaeport.dal.nested import nested_in
from gaeport.dal.plan import Plan
from gaeport.dal.references import References
from gaeport.dal.selects import Selects, SelectText
from gaeport.dal.store import Store
from gaeport.dal.uri import SCHEME, parse
from gaeport.dal.writes import Writes
from gaeport.errors import NotOnDatastore

_RESTRICTING = ("NO ACTION", "RESTRICT")
_FOLLOWING = ("SET NULL", "CASCADE")


@adapters.register_for(SCHEME)
class DatastoreAdapter(SQLite):  # type: ignore[misc]  # shipped without types
    """Serves pyDAL from Datastore.

    Attributes:
        store: the entities.
        selects: the reading half.
        writes: the writing half.
        references: makes references that are read together.
    """

    dbengine = "datastore"
    drivers = ("sqlite3",)
    can_select_for_update = False

    def _initialize_(self) -> None:
        self._find_work_folder()
        self.address = parse(self.uri)
        self.store = Store(self.address)
        self.references = References(self.db)
        self.selects = Selects(self)
        self.writes = Writes(self)
        self.db.__dict__["_lastplan"] = None
        methods.add(self.db, self.store)
        self.db.__dict__["import_from_csv_file"] = partial(_import_all, self.db)

    def connector(self) -> Any:
        """Return a scratch database for this thread."""
        return scratch.connect()

    def after_connection(self) -> None:
        """Register the functions that pyDAL's SQL for SQLite calls."""
        self._register_extract()
        self._register_regexp()

    def test_connection(self) -> None:
        """Use the scratch database; Datastore is left alone until it is needed."""
        self.connection.execute("SELECT 1")

    def note(self, plan: Plan) -> None:
        """Keep what the last operation did, for `db._lastplan`."""
        self.db.__dict__["_lastplan"] = plan

    # Reading.

    def parse_value(self, value: Any, field_itype: str, field_type: Any, blob_decode: bool = True) -> Any:
        """Turn a plain value, or one of the scratch database, into what the application gets."""
        if isinstance(field_type, SQLCustomType):
            return field_type.decoder(value)
        if value is None or not isinstance(field_type, str) or (field_type == "blob" and not blob_decode):
            return value
        return self.parser.parse(value, field_itype, field_type)

    def parse(self, rows: Any, fields: Any, colnames: Any, blob_decode: bool = True, cacheable: bool = False) -> Any:
        """Make Rows; the references in them are read together."""
        self.references.begin()
        return super().parse(rows, fields, colnames, blob_decode=blob_decode, cacheable=cacheable)

    def select(self, query: Any, fields: Any, attributes: dict[str, Any]) -> Any:
        """Run a select; see `Selects.rows`."""
        if attributes.get("cache"):
            return super(SQLite, self).select(query, fields, attributes)
        colnames, rows = self.selects.rows(query, fields, self._checked(attributes))
        processor = attributes.get("processor") or self.parse
        return processor(rows, fields, colnames, cacheable=attributes.get("cacheable", False))

    def iterselect(self, query: Any, fields: Any, attributes: dict[str, Any]) -> Any:
        """Run a select whose rows are made one by one as they are asked for."""
        colnames, rows = self.selects.rows(query, fields, self._checked(attributes))
        self.references.begin()
        return _IterRows(self.db, rows, fields, colnames, attributes.get("cacheable", False))

    @staticmethod
    def _checked(attributes: dict[str, Any]) -> dict[str, Any]:
        unknown = set(attributes) - _ATTRIBUTES
        if unknown:
            raise SyntaxError(f"invalid select attributes: {', '.join(sorted(unknown))}")
        return attributes

    def _select_wcols(self, query: Any, fields: Any, *args: Any, **attributes: Any) -> Any:
        nested_in(query, fields, *attributes.values())  # before pyDAL forgets what recursive expressions are made of
        colnames, sql = super()._select_wcols(query, fields, *args, **attributes)
        return colnames, SelectText.of(sql, query, fields, attributes)

    def select_sql(self, query: Any, fields: Any, attributes: dict[str, Any]) -> tuple[list[str], str]:
        """Return the columns and the SQL of a select on the scratch database."""
        nested_in(query, fields, *attributes.values())
        colnames, sql = super()._select_wcols(query, fields, **attributes)
        return colnames, sql

    def count_sql(self, query: Any, distinct: Any) -> str:
        """Return the SQL of a count on the scratch database."""
        sql: str = super()._count(query, distinct)
        return sql

    def _select_aux_execute(self, sql: Any) -> Any:
        if not isinstance(sql, SelectText):
            raise NotOnDatastore("SQL as text is not offered on Datastore")
        _, rows = self.selects.rows(sql.query, sql.fields, sql.attributes)
        return rows

    def nested_values(self, nested: Any) -> list[Any] | None:
        """Return the values of a nested select, or None where it is something else."""
        values = self.selects.nested_values(nested)
        if values is None and isinstance(nested, str):
            raise NotOnDatastore("belongs() of SQL as text is not offered on Datastore; give it a _select() or a list")
        return values

    def count(self, query: Any, distinct: Any = None) -> int:
        """Return how many rows a query selects."""
        return self.selects.count(query, distinct)

    # Writing.

    def insert(self, table: Any, fields: Any) -> Any:
        """Insert one row, and return a reference to it."""
        try:
            number = self.writes.insert(table, [fields])[0]
        except Exception as error:
            if hasattr(table, "_on_insert_error"):
                return table._on_insert_error(table, fields, error)
            raise
        return self._inserted(table, fields, number)

    def bulk_insert(self, table: Any, items: Any) -> list[Any]:
        """Insert rows, as many in one commit as fit, and return references to them."""
        ids = self.writes.insert(table, items)
        return [self._inserted(table, fields, number) for fields, number in zip(items, ids, strict=True)]

    def _inserted(self, table: Any, fields: Any, number: int | str) -> Any:
        """Return a reference to a new row; of a table with a primarykey, the fields of the key."""
        named = getattr(table, "_primarykey", None)
        if named:
            return {field.name: value for field, value in fields if field.name in named}
        reference = Reference(number)
        reference._table, reference._record = table, None
        return reference

    def update(self, table: Any, query: Any, fields: Any) -> Any:
        """Change rows, and return how many."""
        try:
            return self.writes.update(table, query, fields)
        except Exception as error:
            if hasattr(table, "_on_update_error"):
                return table._on_update_error(table, query, fields, error)
            raise

    def delete(self, table: Any, query: Any) -> int:
        """Delete rows and what refers to them with ondelete CASCADE, and return how many rows of the table."""
        referring = [field for field in self._referring(table) if field.ondelete in (*_RESTRICTING, *_FOLLOWING)]
        strict = [field for field in referring if field.ondelete in _RESTRICTING]
        if strict:
            self._restrict(table, query, strict)
        keyed = hasattr(table, "_primarykey")
        values = {field: self._referred(field, query) for field in referring} if keyed else {}
        deleted = self.writes.delete(table, query)
        for field in referring if deleted else []:
            rows = self.db(field.belongs(values.get(field, deleted)), ignore_common_filters=True)
            if field.ondelete == "CASCADE":
                rows.delete_naive()
            elif field.ondelete == "SET NULL":
                rows.update_naive(**{field.name: None})
        return len(deleted)

    def _referred(self, field: Any, query: Any) -> list[Any]:
        """Return the values that a field may refer to, of the rows that a query selects."""
        referent = field.referent
        return [row[referent.name] for row in self.db(query).select(referent)]

    def _referring(self, table: Any) -> list[Any]:
        """Return the fields that refer to a table; pyDAL itself knows of no big-reference."""
        db, big = self.db, f"big-reference {table._dalname}"
        others = [db[name] for name in db.tables if name not in db._LAZY_TABLES]
        found = [field for other in others for field in other if field.type == big]
        for field in found:
            field.referent = table._id
        return [*table._referenced_by, *found]

    def _restrict(self, table: Any, query: Any, fields: Sequence[Any]) -> None:
        for field in fields:
            ids = self._referred(field, query)
            if ids and not self.db(field.belongs(ids), ignore_common_filters=True).isempty():
                raise IntegrityError(f"FOREIGN KEY constraint failed: rows of {field.longname} refer to it")

    def truncate(self, table: Any, mode: str = "") -> None:
        """Delete all rows of a table."""
        self.writes.truncate(table)

    # The rest of an adapter's interface.

    def create_table(self, table: Any, migrate: bool = True, fake_migrate: bool = False, **_: Any) -> None:
        """Check that every field has a place in Datastore; there is nothing to create."""
        table._dbt = None
        columns_of(table)

    def drop_table(self, table: Any, mode: str = "") -> None:
        """Delete all rows of a table and forget it."""
        self.writes.truncate(table)
        self._drop_table_cleanup(table)

    def _drop_table_cleanup(self, table: Any) -> None:
        super(SQLite, self)._drop_table_cleanup(table) if table._dbt else self._forget(table)

    def _forget(self, table: Any) -> None:
        del self.db[table._tablename]
        del self.db.tables[self.db.tables.index(table._tablename)]
        self.db._remove_references_to(table)

    def create_index(self, table: Any, index_name: str, *fields: Any, **options: Any) -> bool:
        """Let the fields' values be unique together, if `unique=True` says so; Datastore indexes every property anyhow.

        Rows that are there already are not looked at. The models have to say it each time, as they do for fields.
        """
        if options.get("unique"):
            if not all(isinstance(field, Field) for field in fields) or options.get("where"):
                raise NotOnDatastore("create_index(unique=True) takes fields on Datastore, not expressions or where=")
            columns_of(table).add_unique_index(index_name, [field.name for field in fields])
        return True

    def drop_index(self, table: Any, index_name: str, if_exists: bool = False) -> bool:
        """Take a unique index back; others belong to Datastore."""
        columns_of(table).indexes.pop(index_name, None)
        return True

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse SQL."""
        raise NotOnDatastore("executesql() is not offered on Datastore, which knows no SQL")

    def commit(self) -> None:
        """Write what is buffered; without a buffer every write was committed when it was made."""
        self.store.units.commit()

    def rollback(self) -> None:
        """Drop what is buffered; without a buffer, writes that were made stay made, and a warning is logged."""
        self.store.units.rollback()

    def close(self, action: Any = "commit", really: bool = True) -> None:
        """End this thread's unit of work, and drop its scratch database.

        Unlike pyDAL's own, a commit that fails is an error of the request, not silence.
        """
        try:
            if callable(action):
                action(self)
            elif action:
                getattr(self, action)()
        finally:
            self.store.units.forget()
            try:
                super().close(None, really)
            except sqlite3.ProgrammingError:  # the scratch database was closed from outside
                self.set_connection(None)

    def prepare(self, key: Any) -> None:
        """Refuse distributed transactions."""
        raise NotOnDatastore("distributed transactions are not offered on Datastore")

    commit_prepared = rollback_prepared = distributed_transaction_begin = prepare


def _import_all(db: Any, ifile: Any, id_map: Any = None, *rest: Any, **options: Any) -> None:
    """Import a database's tables from CSV under new ids, references following.

    pyDAL's way without an `id_map` inserts and deletes until the ids have counted up to the old ones; ids that are
    spread over 53 bits never do.
    """
    shared = {} if id_map is None else id_map
    for table in db:
        table.__dict__["import_from_csv_file"] = partial(_import_table, table, shared)
    try:
        type(db).import_from_csv_file(db, ifile, shared, *rest, **options)
    finally:
        for table in db:
            del table.__dict__["import_from_csv_file"]


def _import_table(
    table: Any,
    shared: Any,
    csvfile: Any,
    id_map: Any,
    null: str,
    unique: str,
    id_offset: Any,
    *rest: Any,
    **options: Any,
) -> None:
    type(table).import_from_csv_file(table, csvfile, shared, null, unique, None, *rest, **options)


_ATTRIBUTES = {
    "left",
    "join",
    "distinct",
    "orderby",
    "groupby",
    "having",
    "limitby",
    "orderby_on_limitby",
    "for_update",
    "cache",
    "cacheable",
    "processor",
    "required",
    "outer_scoped",
    "cte_collector",
    "correlated",
    "cte",
}


class _IterRows(IterRows):  # type: ignore[misc]  # shipped without types
    """pyDAL's IterRows on rows that were read before."""

    def __init__(self, db: Any, rows: Sequence[Any], fields: Any, colnames: Any, cacheable: bool) -> None:
        self.db, self.fields, self.colnames = db, fields, colnames
        self.blob_decode, self.cacheable = True, cacheable
        self.fields_virtual, self.fields_lazy, self.tmps = db._adapter._parse_expand_colnames(fields)
        self.sql, self._head, self.last_item, self.last_item_id, self.compact = "", None, None, None, True
        self.cursor = _Cursor(rows)


class _Cursor:
    """Rows behind the one method of a cursor that IterRows calls."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = iter(rows)

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        return next(self._rows, None)


language.register(DatastoreAdapter)
schemes.install(adapters, DatastoreAdapter)
