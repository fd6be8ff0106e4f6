"""Drafts are checked and tags are read as people type them."""

import pytest

from gaeport.welcome.guestbook import MAX_AUTHOR, MAX_MESSAGE, Draft, parse_tags


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", []),
        ("#Lisbon, food", ["lisbon", "food"]),
        ("a;b c\td", ["a", "b", "c", "d"]),
        ("twice Twice #twice", ["twice"]),
        ("Çeşme 東京 long-words", ["çeşme", "東京", "long-words"]),
        ("<script> # , !", ["script"]),
    ],
)
def test_tags_are_lower_case_and_each_once(text: str, tags: list[str]) -> None:
    assert parse_tags(text) == tags


def test_a_good_draft_has_no_problems_and_is_trimmed() -> None:
    draft = Draft("  Ann \n Lee ", " hello \n", " a b ").checked()
    assert (draft.author, draft.message, draft.tags, draft.problems) == ("Ann Lee", "hello", "a b", {})


@pytest.mark.parametrize(
    ("draft", "field", "words"),
    [
        (Draft("", "x"), "author", "name"),
        (Draft("Ann", " \n "), "message", "write something"),
        (Draft("A" * (MAX_AUTHOR + 1), "x"), "author", "60 characters"),
        (Draft("Ann", "x" * (MAX_MESSAGE + 1)), "message", "2,000 characters; this is 2,001"),
        (Draft("Ann", "x", "a b c d e f"), "tags", "at most 5"),
        (Draft("Ann", "x", "t" * 31), "tags", "at most 30"),
    ],
)
def test_a_problem_names_its_field_and_the_limit(draft: Draft, field: str, words: str) -> None:
    problems = draft.checked().problems
    assert list(problems) == [field]
    assert words in problems[field]
