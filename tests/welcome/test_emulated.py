"""The guest book on Google's own emulators: notes, tags and pictures as in production."""

import re
import uuid
from pathlib import Path

import pytest
from webtest import TestApp, Upload

import gaeport
from gaeport import settings
from gaeport.welcome import app as guest_book

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4000  # over the inline limit, so that chunk entities are used too


@pytest.mark.parametrize("server", ["firestore_emulator", "datastore_emulator"])
def test_notes_tags_and_pictures_on_an_emulator(
    server: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", request.getfixturevalue(server))
    name = f"welcome-{uuid.uuid4().hex}"
    settings.configure(root=tmp_path, namespace=name, bucket="untouched", mounts=[{"path": "uploads"}])
    site = TestApp(gaeport.wrap(guest_book))
    for text, tags in (("about tea", "tea"), ("about both", "tea coffee"), ("about coffee", "coffee")):
        fields = {"author": "Ann", "message": text, "tags": tags, "picture": Upload("a.png", PNG)}
        site.post("/", fields, status=303, content_type="multipart/form-data")
    page = site.get("/?tag=tea")
    assert re.findall(r'class="message">([\w ]+)<', page.text) == ["about both", "about tea"]
    (picture, _) = re.findall(r'<img src="(/pictures/[^"]+)"', page.text)
    assert site.get(picture).body == PNG
