"""The tables of `make bench`."""

from tests.benchmarks.report import Section, as_markdown, as_text, machine, with_sections
from tests.benchmarks.timing import least, summary


def _section() -> Section:
    section = Section("Times", ("what", "µs"), notes=["A note."])
    section.add("short", "7", budget="≤ 9", kept=True)
    section.add("a longer one", "1234", budget="≤ 9", kept=False)
    section.add("no budget", "1")
    return section


def test_a_table_is_aligned_and_tells_which_budgets_were_kept() -> None:
    assert as_text(_section()).splitlines() == [
        "Times",
        "-----",
        "what            µs  budget",
        "short            7     ≤ 9      ok",
        "a longer one  1234     ≤ 9  MISSED",
        "no budget        1",
        "  A note.",
    ]


def test_a_table_in_markdown_sets_off_what_was_missed() -> None:
    assert "| a longer one | 1234 | ≤ 9 | **MISSED** |" in as_markdown(_section())


def test_a_page_keeps_the_sections_that_were_not_measured_again() -> None:
    order = ("one", "two", "three")
    page = with_sections("Introduction.\n\n", {"three": "## 3", "one": "## 1, old"}, order)
    page = with_sections(page, {"two": "## 2", "one": "## 1, new"}, order)
    assert page.startswith("Introduction.\n\n<!--")
    assert [line for line in page.splitlines() if line.startswith("##")] == ["## 1, new", "## 2", "## 3"]
    assert with_sections(page, {}, order) == page


def test_a_section_passes_unchanged_from_one_process_to_another() -> None:
    assert Section.from_json(_section().to_json()) == _section()


def test_the_machine_is_described_without_its_name() -> None:
    import socket

    assert "cores" in machine()
    assert socket.gethostname() not in machine()


def test_a_ratio_is_the_median_of_each_rounds_own() -> None:
    found = summary([10, 100, 10], [20, 200, 50])
    assert (found.ratio, found.difference, found.base) == (2, 40, 10)
    assert least([10, 100], [30, 20]).difference == 10
