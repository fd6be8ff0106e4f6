"""What a sync will cost, told beforehand: calls, and billed operations, from what a comparison found."""

from collections.abc import Sequence
from math import ceil

from gaeport.fs.datastore.bulk import FILES, batches
from gaeport.fs.datastore.bulk_directories import DIRECTORIES
from gaeport.fs.datastore.storage import SPILL
from gaeport.fs.syncing.comparing import Differences
from gaeport.fs.syncing.sides import PIECE, Job, Side
from gaeport.meter import Meter

QUERY = 300  # entities that one query returns


def estimate(wanted: Differences, source: Side, target: Side, *, delete: bool, checksum: bool, verify: bool) -> Meter:
    """Return about what the work will cost.

    Args:
        wanted: what is to be done.
        source, target: where.
        delete: whether extra names are removed.
        checksum: whether the verification reads contents.
        verify: whether there is one.

    Returns:
        Calls and billed operations; those on the disk are not counted, since they cost nothing.
    """
    costs = Meter()
    _read(costs, source.store, wanted.jobs, target.small)
    _write(costs, target.store, wanted, target.small)
    if delete:
        _remove(costs, target.store, len(wanted.extra) + len(wanted.blocked))
    if verify:
        for side in (source, target):
            _list(costs, side.store, wanted.files, wanted.directories)
            if checksum:
                _read_all(costs, side.store, wanted)
    return costs


def _add(costs: Meter, call: str, count: int, **units: int) -> None:
    if count:
        costs.calls[call] = costs.calls.get(call, 0) + count
        costs.total_calls += count
    for unit, number in units.items():
        name = unit.replace("__", ".")
        costs.units[name] = costs.units.get(name, 0) + number


def _read(costs: Meter, store: str, jobs: Sequence[Job], small: int) -> None:
    files = [job for job in jobs if job.item.kind == "file"]
    large = [job for job in files if job.item.size > small]
    links = len(jobs) - len(files)
    if store == "gcs":
        pieces = sum(max(1, ceil(job.item.size / PIECE)) for job in files)
        looks = len(jobs) + len(large)
        _add(costs, "ReadObject", pieces + looks, storage__class_b=pieces + looks)
    elif store == "datastore":
        lookups = _batches([job for job in files if job.item.size <= small])
        pieces = sum(ceil(job.item.size / PIECE) for job in large)
        _add(
            costs, "Lookup", lookups + links + 3 * len(large), datastore__read=len(jobs) + 4 * lookups + 9 * len(large)
        )
        _add(costs, "ReadBlob", pieces, storage__class_b=pieces)


def _read_all(costs: Meter, store: str, wanted: Differences) -> None:
    if store == "datastore":
        lookups = ceil(wanted.files / FILES)
        _add(costs, "Lookup", lookups, datastore__read=wanted.files + 4 * lookups)
    elif store == "gcs":
        _add(costs, "ReadObject", 2 * wanted.files, storage__class_b=2 * wanted.files)


def _write(costs: Meter, store: str, wanted: Differences, small: int) -> None:
    if store == "gcs":
        _write_objects(costs, wanted)
    elif store == "datastore":
        _write_files(costs, [job for job in wanted.jobs if job.item.kind != "file" or job.item.size <= small])
        _write_large(costs, [job for job in wanted.jobs if job.item.kind == "file" and job.item.size > small])
        _write_directories(costs, wanted)
        changes = len(wanted.attributes)
        _add(costs, "Lookup", 2 * changes, datastore__read=6 * changes)
        _add(costs, "Commit", 2 * changes, datastore__write=2 * changes)


def _write_objects(costs: Meter, wanted: Differences) -> None:
    """Each file is looked up and written, and where it is new its directories are listed; directories are objects."""
    new = sum(1 for job in wanted.jobs if not job.former)
    links = sum(1 for job in wanted.jobs if job.item.kind == "link")
    made, changes = len(wanted.made), len(wanted.attributes) + len(wanted.assigned)
    looks, lists = len(wanted.jobs) + 2 * made + changes, 2 * new + 4 * made
    writes = len(wanted.jobs) + links + made + 2 * changes
    _add(costs, "WriteObject", looks + lists + writes, storage__class_a=lists + writes, storage__class_b=looks)


def _write_files(costs: Meter, jobs: Sequence[Job]) -> None:
    commits = _batches(jobs)
    replaced = sum(1 for job in jobs if job.former)
    folders = len({job.path[:-1] for job in jobs if not job.former})
    guards = folders + commits if folders else 0  # a folder's files may be in two batches
    _add(costs, "Lookup", commits, datastore__read=replaced + 2 * guards)
    _add(costs, "Commit", commits, datastore__write=len(jobs) + guards)


def _write_large(costs: Meter, jobs: Sequence[Job]) -> None:
    blobs = sum(ceil(job.item.size / SPILL) for job in jobs)
    number = len(jobs)
    _add(costs, "Lookup", number, datastore__read=4 * number)
    _add(costs, "Commit", 2 * number, datastore__write=3 * number, datastore__delete=number)
    _add(costs, "WriteBlob", blobs, storage__class_a=blobs)


def _write_directories(costs: Meter, wanted: Differences) -> None:
    made, assigned = len(wanted.made), len(wanted.assigned)
    touched = len({job.path[:-1] for job in wanted.jobs if not job.former} | {item.path[:-1] for item in wanted.made})
    calls = ceil(made / DIRECTORIES) + ceil(assigned / DIRECTORIES)
    _add(costs, "Lookup", calls + ceil(touched / 200), datastore__read=2 * assigned + 2 * touched)
    _add(costs, "Commit", calls + ceil(touched / 200), datastore__write=2 * made + 2 * assigned + touched)


def _remove(costs: Meter, store: str, names: int) -> None:
    if store == "gcs":
        _add(costs, "DeleteObject", 2 * names, storage__class_b=names)
    elif store == "datastore":
        _add(costs, "Lookup", ceil(names / FILES), datastore__read=names)
        _add(costs, "Commit", ceil(names / FILES), datastore__delete=names)


def _list(costs: Meter, store: str, files: int, directories: int) -> None:
    if store == "gcs":
        pages = directories + files // 1000
        _add(costs, "ListObjects", pages, storage__class_a=pages)
    elif store == "datastore":
        _add(costs, "Lookup", 2 * directories, datastore__read=4 * directories)
        _add(costs, "RunQuery", directories + files // QUERY, datastore__read=files + directories)


def _batches(jobs: Sequence[Job]) -> int:
    return sum(1 for _ in batches(jobs, [job.item.size for job in jobs]))
