"""The work of `gaeport data …`: what it checks first, what it says, and its exit code."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from gaeport.dal.columns import TableColumns
from gaeport.dal.transfer import comparing, files
from gaeport.dal.transfer.contents import StoredUploads
from gaeport.dal.transfer.databases import DATASTORE, engine_of, opened, shown
from gaeport.dal.transfer.definitions import Application, chosen
from gaeport.dal.transfer.errors import TransferError
from gaeport.dal.transfer.files import Folder
from gaeport.dal.transfer.incoming import Incoming, check
from gaeport.dal.transfer.markers import Duplicate, Markers
from gaeport.dal.transfer.outgoing import Outgoing, needs_big_ids
from gaeport.dal.transfer.state import State
from gaeport.errors import ConfigurationError, DatastoreError
from gaeport.meter import Meter, measure

OK, FAILED = 0, 1
SHOWN = 20  # problems, duplicates and files that are named; the others are counted


@dataclass(frozen=True, slots=True)
class Options:
    """What `import` and `export` have in common.

    Attributes:
        sql: the connection string of the SQL database.
        datastore: that of Datastore.
        application: what defines the tables.
        tables: the names of those to move; none means all.
        folders: for each folder of files where they are and where they go.
        contents_to: for `export`, the folder for uploads that Datastore keeps in entities; None: nowhere.
        mode: "empty" refuses tables that hold rows, "merge" overwrites those of the same ids, "replace" deletes first.
        restart: whether to forget how far an earlier run got.
        agreed: is told what will be done (and whether that destroys anything), and tells whether to go on.
        tell: shows how far it is: a text, and a part of 1 or None.
    """

    sql: str
    datastore: str
    application: Application
    agreed: Callable[[str, bool], bool]
    tell: Callable[[str, float | None], object]
    tables: Sequence[str] = ()
    folders: Sequence[tuple[Folder, Folder]] = ()
    contents_to: Folder | None = None
    mode: str = "empty"
    restart: bool = False

    def state(self, direction: str, store: Any) -> State:
        """Return the state of this transfer."""
        names = [direction, shown(self.sql), self.datastore, self.mode, *sorted(self.tables)]
        state = State(store.own_client, names)
        state.load()
        if self.restart and state.begun:
            state.delete()
            state.clear()
        return state

    def told(self, what: str) -> Callable[[str, int], None]:
        """Return what shows how many rows of a table have been dealt with."""
        return lambda table, count: void(self.tell(f"{what} {table}: {count:,} rows", None))

    def told_files(self, what: str) -> Callable[[int], None]:
        """Return what shows how many files have been dealt with."""
        return lambda count: void(self.tell(f"{what} {count:,} files", None))


def void(_: object) -> None:
    """Return nothing, for a callback whose answer does not count."""


def run_import(options: Options, *, only_check: bool = False) -> int:
    """Bring tables and files from a SQL database and the disk to Datastore and its mounts. Returns the exit code."""
    _check_engines(options)
    with (
        closing(opened(options.sql, options.application, must_exist=True)) as source,
        closing(opened(options.datastore, options.application)) as target,
    ):
        return _import(options, source, target, only_check=only_check)


def _import(options: Options, source: Any, target: Any, *, only_check: bool) -> int:
    pairs = [(table, target[table._tablename]) for table in chosen(source, options.tables)]
    if only_check:
        return _checked(check(pairs, options.told("checked")))
    if not options.agreed(f"import from {shown(options.sql)} to {options.datastore}", options.mode == "replace"):
        return FAILED
    state = options.state("import", target._adapter.store)
    incoming = Incoming(pairs, state, options.told("imported"))
    _begin(options, state, incoming.occupied)
    with measure() as meter:
        started = time.monotonic()
        if options.mode == "replace":
            incoming.clear()
        if (stopped := _moved(options, incoming.run, state)) is not None:
            return stopped
        equal = _compared(options, pairs, state, seconds=False)
        _name_duplicates(incoming.duplicates)
    _say(_costs(meter, time.monotonic() - started))
    return OK if equal and not incoming.duplicates else FAILED


def run_export(options: Options) -> int:
    """Bring tables and files from Datastore and its mounts to a SQL database and the disk. Returns the exit code."""
    _check_engines(options)
    with closing(opened(options.datastore, options.application)) as source:
        return _export(options, source)


def _export(options: Options, source: Any) -> int:
    tables = chosen(source, options.tables)
    if not options.agreed(f"export from {options.datastore} to {shown(options.sql)}", options.mode == "replace"):
        return FAILED
    big_ids = engine_of(options.sql) != "sqlite" and needs_big_ids(tables)
    with closing(opened(options.sql, options.application, big_ids=big_ids)) as target:
        pairs = [(table, target[table._tablename]) for table in tables]
        return _export_to(options, pairs, big_ids=big_ids)


def _export_to(options: Options, pairs: Sequence[tuple[Any, Any]], *, big_ids: bool) -> int:
    source = pairs[0][0]._db
    state = options.state("export", source._adapter.store)
    outgoing = Outgoing(pairs, state, options.told("exported"))
    _begin(options, state, outgoing.occupied)
    with measure() as meter:
        started = time.monotonic()
        made = outgoing.create()
        if options.mode == "replace":
            outgoing.clear()
        tables = [table for table, _ in pairs]
        uploads = StoredUploads(tables)
        if (stopped := _moved(options, lambda: _export_all(outgoing, uploads, options, state), state)) is not None:
            return stopped
        equal = _compared(options, pairs, state, seconds=True)
        complete = _complete(tables, options)
        complete = _uploads_complete(uploads, options) and complete
    _say(_costs(meter, time.monotonic() - started))
    if made:
        _say(f"created: {', '.join(made)}")
    if made and options.application.databases is not None:
        outgoing.remember(made)
    if made and big_ids:
        _say("some ids have more than 32 bits: open this database with DAL(…, bigint_id=True)")
    return OK if equal and complete else FAILED


def _export_all(outgoing: Outgoing, uploads: StoredUploads, options: Options, state: State) -> None:
    outgoing.run()
    if options.contents_to is not None:
        uploads.export(options.contents_to, state, options.told_files("copied"))


def run_unique(
    label: str,
    datastore: str,
    application: Application | None,
    *,
    only_check: bool,
    agreed: Callable[[str, bool], bool],
    tell: Callable[[str, float | None], object],
) -> int:
    """Make the missing markers of a field that became unique, and name duplicates. Returns the exit code."""
    name, _, field = label.partition(".")
    if not name or not field:
        raise ConfigurationError(f"{label!r}: write TABLE.FIELD")
    if engine_of(datastore) != DATASTORE:
        raise ConfigurationError(f"{shown(datastore)}: expected datastore://…")
    with closing(opened(datastore, application or Application(lambda db: _bare(db, name, field)))) as db:
        columns = _unique_columns(db, name, field)
        if not only_check and not agreed(f"make the markers of {label} in {datastore}", False):
            return FAILED
        count, duplicates = Markers(db._adapter.store).backfill(
            columns, lambda done: tell(f"{label}: {done:,} rows", None), only_check=only_check
        )
    _name_duplicates(duplicates)
    _say(f"{label}: {count:,} rows, {len(duplicates):,} with a value that another row has")
    return FAILED if duplicates else OK


def _unique_columns(db: Any, name: str, field: str) -> TableColumns:
    """Return the columns of a table as if one field were its only unique one."""
    (table,) = chosen(db, [name])
    columns = TableColumns(table)
    if field not in columns.columns:
        raise ConfigurationError(f"{name} has no field {field!r}; it has: {', '.join(columns.columns)}")
    columns.unique = [columns.columns[field]]
    return columns


def _bare(db: Any, name: str, field: str) -> None:
    from pydal import Field

    db.define_table(name, Field(field))


def _check_engines(options: Options) -> None:
    if engine_of(options.datastore) != DATASTORE:
        raise ConfigurationError(f"{shown(options.datastore)}: expected datastore://…")
    if engine_of(options.sql) == DATASTORE:
        raise ConfigurationError(f"{options.sql}: expected a SQL database, such as sqlite://storage.sqlite")


def _begin(options: Options, state: State, occupied: Callable[[], list[str]]) -> None:
    """Say what is gone on with.

    Raises:
        ConfigurationError: the target holds rows, and nothing says what to do with them.
    """
    if state.begun:
        _say("goes on where an earlier run stopped (--restart begins anew)")
    elif options.mode == "empty" and (tables := occupied()):
        raise ConfigurationError(
            f"{', '.join(tables)}: the target holds rows already; --merge keeps them and overwrites those of the same "
            "ids, --replace deletes them first"
        )


def _moved(options: Options, run: Callable[[], None], state: State) -> int | None:
    """Move rows and files; return an exit code if that was the end of it."""
    try:
        run()
        for source, target in options.folders:
            files.copy(source, target, state, options.told_files("copied"))
    except TransferError as error:
        _complain(f"{error}\nThe same command goes on from here; `import --check` names all rows that do not fit.")
        return FAILED
    except (DatastoreError, OSError) as error:
        _complain(f"{error}\nThe same command goes on from here.")
        return FAILED
    return None


def _compared(options: Options, pairs: Sequence[tuple[Any, Any]], state: State, *, seconds: bool) -> bool:
    """Compare all, say what came of it, and forget the state if both sides are equal."""
    merged, equal, rows = options.mode == "merge", True, 0
    width = max(len(source._tablename) for source, _ in pairs)
    for source, target in pairs:
        found = comparing.compare(source, target, options.told("compared"), seconds=seconds)
        same = found.equal(merged=merged)
        _say(f"{found.table:<{width}} {found.rows:>11,} rows  {found.checksum}  {'equal' if same else 'NOT EQUAL'}")
        if not same:
            _complain(f"{found.table}: {found.rows_there:,} rows in the target; {found.differences()}")
        equal, rows = equal and same, rows + found.rows
    for here, there in options.folders:
        equal = _compared_files(here, there, options) and equal
    _say(f"{rows:,} rows of {len(pairs):,} tables: {'equal' if equal else 'NOT EQUAL'}")
    if equal:
        state.delete()
    return equal


def _complete(tables: Sequence[Any], options: Options) -> bool:
    """Name what the tables have no field for: it is on Datastore, and was not exported."""
    complete = True
    for table in tables:
        for name, count in sorted(comparing.undefined(table, options.told("looked through")).items()):
            complete = False
            _complain(f"{table._tablename}: {count:,} rows have {name!r}, which no field of --app is for: not exported")
    return complete


def _uploads_complete(uploads: StoredUploads, options: Options) -> bool:
    """Compare the uploads that Datastore keeps in entities with their files."""
    if options.contents_to is None:
        count = sum(1 for _ in uploads.names())
        if count:
            _complain(f"{count:,} uploads are kept in Datastore and were not exported: --uploads-to names a folder")
        return not count
    count, different = uploads.compare(options.contents_to)
    if count:
        _say(f"{count:,} uploads that Datastore keeps, to {options.contents_to.path}  {_word(not different)}")
    _name_files(different)
    return not different


def _name_files(names: list[str]) -> None:
    for name in names[:SHOWN]:
        _complain(f"{name}: missing, or different")


def _compared_files(here: Folder, there: Folder, options: Options) -> bool:
    found = files.compare(here, there, options.told_files("compared"))
    same = not found.different
    _say(f"{found.files:,} files of {here.path}, {found.size:,} bytes  {found.checksum}  {_word(same)}")
    _name_files(found.different)
    return same


def _word(same: bool) -> str:
    return "equal" if same else "NOT EQUAL"


def _checked(problems: list[str]) -> int:
    for problem in problems[:SHOWN]:
        _complain(problem)
    _say(f"{len(problems):,} rows do not fit" if problems else "all rows fit")
    return FAILED if problems else OK


def _name_duplicates(duplicates: Sequence[Duplicate]) -> None:
    for found in duplicates[:SHOWN]:
        _complain(f"{found.label}: the row {found.row} has {found.value!r}, as the row {found.holder} has")
    if len(duplicates) > SHOWN:
        _complain(f"… {len(duplicates) - SHOWN:,} more; `gaeport data unique TABLE.FIELD` finds all of one field")


def _costs(meter: Meter, seconds: float) -> str:
    calls = ", ".join(f"{count:,} {name}" for name, count in sorted(meter.calls.items()))
    return f"{seconds:.1f} s, {meter.total_calls:,} calls ({calls}), about ${meter.price:.2f} in production"


def _say(text: str) -> None:
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")


def _complain(text: str) -> None:
    sys.stderr.write("gaeport data: " + text.encode("utf-8", "backslashreplace").decode() + "\n")
