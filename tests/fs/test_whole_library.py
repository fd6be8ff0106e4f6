"""The standard library's modules that read and write files do on a mounted folder what they do on one of the disk."""

from pathlib import Path

import pytest

from gaeport.fs.volume import Volume
from tests.fs import library_formats, library_paths
from tests.fs.probing import DIFFERENT

PROBES = library_paths.PROBES | library_formats.PROBES


@pytest.mark.parametrize("name", PROBES)
def test_it_does_what_it_does_on_the_disk(everywhere: Path, beside: Path, any_volume: Volume, name: str) -> None:
    if name in DIFFERENT.get(type(any_volume).__name__, ()):
        pytest.skip("the documents name a difference")
    assert PROBES[name](str(everywhere)) == PROBES[name](str(beside))
