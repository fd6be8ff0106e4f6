"""web2py's own sessions in memcached, by gaeport.sessions.web2py(url), in two processes."""

from collections.abc import Callable

import pytest
from webtest import TestApp

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("web2py")]


def test_a_session_is_the_same_in_both_processes(visitor: Callable[[], TestApp]) -> None:
    user = visitor()
    assert [user.get("/kept/default/index").text for _ in range(10)] == [f"visit {n}" for n in range(1, 11)]
    assert visitor().get("/kept/default/index").text == "visit 1"


def test_a_renewed_session_has_another_key_and_the_old_one_is_unknown(visitor: Callable[[], TestApp]) -> None:
    user, thief = visitor(), visitor()
    user.get("/kept/default/index")
    thief.set_cookie("session_id_kept", user.cookies["session_id_kept"].strip('"'))
    user.get("/kept/default/renew")
    assert user.get("/kept/default/index").text == "visit 2"
    assert thief.get("/kept/default/index").text == "visit 1"


def test_a_cleared_session_is_gone(visitor: Callable[[], TestApp]) -> None:
    user = visitor()
    user.get("/kept/default/index")
    user.get("/kept/default/clear")
    assert user.get("/kept/default/index").text == "visit 1"
