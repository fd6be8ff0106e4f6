"""Ways to fail, each with something to see in its ticket."""

from collections.abc import Callable


def caught(call: Callable[[], object]) -> BaseException:
    """Return what a call raises."""
    try:
        call()
    except BaseException as error:  # noqa: BLE001 (whatever it is)
        return error
    raise AssertionError("it did not raise")


def simple() -> None:
    basket = {"apples": 3}
    basket["pears"]


def with_cause() -> None:
    try:
        simple()
    except KeyError as error:
        raise ValueError("no such fruit") from error


def with_context() -> None:
    try:
        simple()
    except KeyError:
        raise ValueError("while looking")  # noqa: B904 (the context is what is tested)


def with_notes() -> None:
    error = ValueError("with notes")
    error.add_note("first note")
    error.add_note("second note")
    raise error


def group() -> None:
    raise ExceptionGroup("several", [caught(simple), caught(with_cause)])  # type: ignore[list-item]


def deep(depth: int = 100_000) -> None:
    deep(depth - 1)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def unprintable() -> None:
    raise Unprintable


def elsewhere() -> None:
    [][0]
