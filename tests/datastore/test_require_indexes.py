"""Queries are refused as production refuses them when index.yaml lacks their composite index."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google.api_core.exceptions
import pytest
from google.cloud import ndb
from webtest import TestApp

import gaeport
from gaeport import cli, settings
from gaeport.datastore import index_yaml, wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
from gaeport.datastore.indexes import Index
from gaeport.datastore.require_indexes import RequireIndexes
from gaeport.errors import ConfigurationError, FailedPrecondition, InvalidArgument
from gaeport.fs import mounts
from gaeport.welcome import app as guest_book
from tests.datastore.build import entity, query, run, where
from tests.devserver.serving import run as gaeport_run
from tests.devserver.serving import serving, write_app

ROOT = Path(__file__).parents[2]
BY_TAG = Index("Memo", False, (("tag", "asc"), ("created", "desc")))
SUM_BY_TAG = Index("Memo", False, (("tag", "asc"), ("cost", "asc")))
LATEST = query("Memo", where("tag", "=", "x"), order=("-created",))
REFUSAL = """\
no matching index found. recommended index is:
- kind: Memo
  properties:
  - name: tag
  - name: created
    direction: desc
"""


def made(engine: Engine, *indexes: Index) -> Client:
    """Return a client on an engine that answers only what these indexes serve."""
    return Client(RequireIndexes(engine, indexes), project="project")


def message(refused: Any) -> str:
    """Return the words of a refusal."""
    return str(refused.value.message)


def test_a_query_without_its_index_is_refused_in_productions_words(engine: Engine) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        run(made(engine), LATEST)
    assert message(refused) == REFUSAL


def test_a_query_with_its_index_is_answered(engine: Engine) -> None:
    client = made(engine, BY_TAG)
    client.commit([wire.Mutation(insert=entity(client.key("Memo", 1), tag="x", created=1))])
    assert len(run(client, LATEST).entity_results) == 1


def test_the_lines_of_a_refusal_are_what_index_yaml_needs(engine: Engine) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        run(made(engine), LATEST)
    lines = message(refused).partition("\n")[2]
    run(made(engine, *index_yaml.parse("indexes:\n" + lines)), LATEST)


def test_an_aggregation_without_its_index_is_refused(engine: Engine) -> None:
    client = made(engine)
    request = wire.RunAggregationQueryRequest(project_id="project")
    request.aggregation_query.nested_query.CopyFrom(LATEST)
    request.aggregation_query.aggregations.add().count.SetInParent()
    with pytest.raises(FailedPrecondition) as refused:
        client.transport.call("RunAggregationQuery", request)
    assert message(refused) == REFUSAL


@pytest.mark.parametrize(
    ("method", "text", "index"),
    [
        ("RunQuery", "SELECT * FROM Memo WHERE tag = 'x' ORDER BY created DESC", BY_TAG),
        ("RunAggregationQuery", "SELECT SUM(cost) FROM Memo WHERE tag = 'x'", SUM_BY_TAG),
    ],
)
def test_gql_without_its_index_is_refused(engine: Engine, method: str, text: str, index: Index) -> None:
    request: Any = wire.request_class(method)(project_id="project")
    request.gql_query.query_string = text
    request.gql_query.allow_literals = True
    with pytest.raises(FailedPrecondition) as refused:
        made(engine).transport.call(method, request)
    assert message(refused).endswith(index_yaml.render([index]))
    made(engine, index).transport.call(method, request)


def test_a_query_that_is_wrong_in_itself_is_refused_as_such(engine: Engine) -> None:
    with pytest.raises(InvalidArgument):
        run(made(engine), query("Memo", where("tag", "=", "x"), order=("created",), project=("tag",)))


def test_an_entity_that_explodes_an_index_is_refused(engine: Engine) -> None:
    client = made(engine, BY_TAG)
    many = entity(client.key("Memo", 1), tag=list(range(200)), created=list(range(200)))
    with pytest.raises(
        InvalidArgument, match=r"too many index entries.*'Memo', 1.*40,400.*Memo on \(tag, created desc\)"
    ):
        client.commit([wire.Mutation(upsert=many)])
    assert client.lookup([many.key]) == [None]


class Memo(ndb.Model):
    """A memo of ndb's."""

    tag = ndb.StringProperty()
    created = ndb.IntegerProperty()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of an application that requires its indexes."""
    settings.configure(root=tmp_path, data=":memory:", require_indexes=True, mounts=[{"path": "uploads"}])
    yield tmp_path
    mounts.unmount_all()


def fetch() -> list[Any]:
    """Run the query through ndb on the channel of the present settings."""
    with gaeport.datastore.ndb_client().context():
        found: list[Any] = Memo.query(Memo.tag == "x").order(-Memo.created).fetch()
        return found


def test_ndb_gets_the_refusal(folder: Path) -> None:
    with pytest.raises(google.api_core.exceptions.FailedPrecondition, match="no matching index found") as refused:
        fetch()
    assert "- kind: Memo\n  properties:\n  - name: tag\n  - name: created\n    direction: desc" in str(refused.value)


def test_index_yaml_beside_gaeport_toml_counts(tmp_path: Path) -> None:
    (tmp_path / "gaeport.toml").write_text('data = ":memory:"\nrequire_indexes = true\n')
    (tmp_path / "index.yaml").write_text("indexes:\n" + index_yaml.render([BY_TAG]))
    settings.use(settings.load(tmp_path / "gaeport.toml"))
    assert fetch() == []


def test_a_wrong_index_yaml_is_named(folder: Path) -> None:
    (folder / "index.yaml").write_text("")
    with pytest.raises(ConfigurationError, match=r"index\.yaml: is empty"):
        gaeport.datastore.client()


def test_nothing_is_refused_unless_asked_for(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, data=":memory:")
    assert fetch() == []


def test_the_guest_book_needs_the_indexes_of_its_index_yaml(folder: Path) -> None:
    shutil.copy(ROOT / "index.yaml", folder)
    site = TestApp(gaeport.wrap(guest_book))
    site.post("/", {"author": "Ann", "message": "Hello", "tags": "lisbon"}, status=303)
    for page in ("/", "/?tag=lisbon", "/?before=9999999999999999", "/?tag=lisbon&before=9999999999999999"):
        site.get(page, status=200).mustcontain("Hello")


def test_files_need_no_index_of_the_application(folder: Path) -> None:
    gaeport.mount(str(folder / "uploads"))
    base = folder / "uploads"
    os.makedirs(base / "a" / "b")
    (base / "a" / "b" / "c").write_text("x" * 600_000)
    (base / "a" / "d").write_text("y")
    assert sorted(str(path.relative_to(base)) for path in base.rglob("*")) == ["a", "a/b", "a/b/c", "a/d"]
    os.rename(base / "a", base / "e")
    shutil.rmtree(base / "e")
    assert os.listdir(base) == []


APP = """
import gaeport
from google.cloud import ndb

class Memo(ndb.Model):
    tag = ndb.StringProperty()
    created = ndb.IntegerProperty()

def app(environ, start_response):
    try:
        with gaeport.datastore.ndb_client().context():
            body = str(Memo.query(Memo.tag == "x").order(-Memo.created).fetch())
    except Exception as error:
        body = str(error)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode()]
"""


def test_serve_refuses_when_asked_to_until_index_yaml_has_the_lines(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "shop", APP, toml='data = ":memory:"')
    with serving(folder, "--require-indexes") as served:
        refusal = served.get("/").text
    assert refusal.endswith(REFUSAL)
    (folder / "index.yaml").write_text("indexes:\n" + refusal.partition("\n")[2])
    with serving(folder, "--require-indexes") as served:
        assert served.get("/").text == "[]"


def test_serve_names_what_is_wrong_in_index_yaml_before_it_answers(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "shop", APP, toml='data = ":memory:"\nrequire_indexes = true')
    (folder / "index.yaml").write_text("indexes:\n- kind: Memo\n")
    ended = gaeport_run(folder, "serve", "--port", "0")
    assert ended.returncode == 2
    assert "index.yaml:2: an index without `properties`" in ended.stderr


def test_the_option_is_off_unless_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    parser = cli.build_parser()
    assert cli.read_settings(parser.parse_args(["serve", "--require-indexes"])).require_indexes
    assert not cli.read_settings(parser.parse_args(["serve"])).require_indexes
