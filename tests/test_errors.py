"""The exceptions: one root, true OSErrors for files, one class a status code."""

import errno

import pytest

from gaeport import errors


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, FileNotFoundError),
        (errno.EEXIST, FileExistsError),
        (errno.EISDIR, IsADirectoryError),
        (errno.EACCES, PermissionError),
        (errno.EROFS, OSError),
    ],
)
def test_a_file_error_is_the_one_that_linux_gives(number: int, kind: type[OSError]) -> None:
    error = errors.file_error(number, "a/b", "mount it")
    assert type(error) is kind
    assert (error.errno, error.filename) == (number, "a/b")
    assert str(error).endswith("mount it: 'a/b'")


def test_each_status_code_has_its_exception() -> None:
    error = errors.datastore_error("ABORTED", "try again")
    assert isinstance(error, errors.Aborted)
    assert isinstance(error, errors.GaeportError)
    assert (error.code, error.message, str(error)) == ("ABORTED", "try again", "ABORTED: try again")


def test_an_unknown_status_code_is_still_a_datastore_error() -> None:
    assert type(errors.datastore_error("NEW", "")) is errors.DatastoreError
