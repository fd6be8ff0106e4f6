"""Versions, which never go back, and ids, which never meet."""

import secrets
from typing import Any

import pytest

from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
from gaeport.errors import FailedPrecondition, InvalidArgument
from tests.datastore.build import begin, commit_in, entity, lookup_in

Mutation = wire.Mutation


def put(client: Client, base: int | None = None) -> int:
    made = Mutation(upsert=entity(client.key("Kind", 1), n=base))
    if base is not None:
        made.base_version = base
        made.conflict_resolution_strategy = wire.FAIL
    return client.commit([made])[0].version  # type: ignore[no-any-return]  # wire is untyped


def delete(client: Client) -> int:
    return client.commit([Mutation(delete=client.key("Kind", 1))])[0].version  # type: ignore[no-any-return]  # wire is untyped


def missing_version(client: Client) -> int:
    request = wire.LookupRequest(project_id=client.project, keys=[client.key("Kind", 1)])
    return client.transport.call("Lookup", request).missing[0].version  # type: ignore[no-any-return]  # wire is untyped


def allocate(client: Client, count: int) -> list[int]:
    keys = [wire.Key(path=[wire.Key.PathElement(kind="Kind")]) for _ in range(count)]
    request = wire.AllocateIdsRequest(project_id=client.project, keys=keys)
    return [key.path[-1].id for key in client.transport.call("AllocateIds", request).keys]


def reserve(client: Client, *ids: int | str) -> None:
    keys = [client.key("Kind", number) for number in ids]
    client.transport.call("ReserveIds", wire.ReserveIdsRequest(project_id=client.project, keys=keys))


def test_versions_grow_through_delete_and_re_creation(local: Client) -> None:
    versions = [put(local), delete(local), put(local), delete(local), missing_version(local), put(local)]
    assert versions == sorted(versions)
    assert versions[0] < versions[1] < versions[2] < versions[3] < versions[5]


def test_the_version_of_a_missing_entity_can_be_demanded_until_it_is_there(local: Client) -> None:
    version = missing_version(local)
    put(local, version)
    for stale in (version, 0):
        with pytest.raises(FailedPrecondition):
            put(local, stale)


def test_a_version_from_before_a_deletion_is_never_current_again(local: Client) -> None:
    first = put(local)
    deleted = delete(local)
    with pytest.raises(FailedPrecondition):
        put(local, first)
    put(local, deleted)
    with pytest.raises(FailedPrecondition):
        put(local, deleted)


def test_a_version_that_no_commit_has_reached_is_refused(local: Client) -> None:
    version = put(local)
    with pytest.raises(InvalidArgument, match="greater than the stored version"):
        put(local, version + 1)


def test_allocated_ids_avoid_entities_and_reserved_ids(local: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    put(local)
    reserve(local, 2, 3, "name")
    given = iter([1, 2, 3, 4, 1, 3, 5, 2, 6])  # what chance would give
    monkeypatch.setattr(secrets, "randbelow", lambda _: next(given) - 1)
    assert allocate(local, 2) == [4, 5]
    made = wire.Entity(key=wire.Key(path=[wire.Key.PathElement(kind="Kind")]))
    [result] = local.commit([Mutation(insert=made)])
    assert result.key.path[-1].id == 6


def test_ids_are_reserved_for_good(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        engine = Engine(tmp_path)
        reserve(Client(engine, project="project"), 7)
        engine.close()
    engine = Engine(tmp_path)
    given = iter([7, 8])
    monkeypatch.setattr(secrets, "randbelow", lambda _: next(given) - 1)
    assert allocate(Client(engine, project="project"), 1) == [8]
    engine.close()


@pytest.mark.parametrize(("steps", "expires"), [((59, 59, 59, 59), False), ((61,), True), ((50,) * 6, True)])
def test_a_transaction_lives_270_seconds_and_60_idle(steps: tuple[int, ...], expires: bool) -> None:
    now = [1000.0]
    engine = Engine(None, clock=lambda: now[0])
    client = Client(engine, project="project")
    token = begin(client)
    for step in steps[:-1]:
        now[0] += step
        lookup_in(client, token, client.key("Kind", 1))
    now[0] += steps[-1]
    if expires:
        with pytest.raises(InvalidArgument, match="expired"):
            commit_in(client, token, Mutation(upsert=entity(client.key("Kind", 1))))
    else:
        commit_in(client, token, Mutation(upsert=entity(client.key("Kind", 1))))
    engine.close()


def test_a_retry_may_name_the_transaction_that_it_repeats(local: Client) -> None:
    before = begin(local)
    request = wire.BeginTransactionRequest(project_id=local.project)
    request.transaction_options.read_write.previous_transaction = before
    token = local.transport.call("BeginTransaction", request).transaction
    assert token != before
    commit_in(local, token, Mutation(upsert=entity(local.key("Kind", 1))))


def test_a_read_only_transaction_at_a_read_time_sees_that_moment(local: Client) -> None:
    put(local)
    lookup = wire.LookupRequest(project_id=local.project, keys=[local.key("Kind", 1)])
    moment = local.transport.call("Lookup", lookup).read_time
    delete(local)
    request = wire.BeginTransactionRequest(project_id=local.project)
    request.transaction_options.read_only.read_time.CopyFrom(moment)
    token = local.transport.call("BeginTransaction", request).transaction
    assert len(lookup_in(local, token, local.key("Kind", 1)).found) == 1


def test_open_transactions_do_not_make_a_writer_wait(tmp_path: Any) -> None:
    engine, other = Engine(tmp_path), Engine(tmp_path)
    first, second = (Client(each, project="project") for each in (engine, other))
    tokens = [begin(client) for client in (first, second)]
    for client, token, number in zip((first, second), tokens, (1, 2), strict=True):
        lookup_in(client, token, client.key("Kind", number))
    put(first)  # nobody's transaction is over yet: a lock held by one would block this for good
    commit_in(second, tokens[1], Mutation(upsert=entity(second.key("Kind", 2))))
    engine.close()
    other.close()


def test_a_commit_without_transaction_applies_as_a_whole(local: Client) -> None:
    request = wire.CommitRequest(project_id=local.project, mode=wire.NON_TRANSACTIONAL)
    request.mutations.add(insert=entity(local.key("Kind", 1)))
    request.mutations.add(insert=entity(local.key("Kind", 2)))
    assert len(local.transport.call("Commit", request).mutation_results) == 2
