"""The schedules of cron.yaml: App Engine's English, such as "every monday 09:00" or "1,15 of month 04:00".

gcloud does not check them for Python 3, and the server refuses a wrong one when the version is live already.
Source: "cron.yaml reference", schedule formats; held against the SDK's own parser by a test.
"""

import re

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "1st", "2nd", "3rd", "4th", "5th")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    ("january", 31),
    ("february", 29),
    ("march", 31),
    ("april", 30),
    ("may", 31),
    ("june", 30),
    ("july", 31),
    ("august", 31),
    ("september", 30),
    ("october", 31),
    ("november", 30),
    ("december", 31),
)
_PLAIN = ("every", "from", "to", "of", "month", "quarter", "day", "synchronized")
_UNITS = ("mins", "minutes", "hours")
_MINUTES_A_DAY = 24 * 60

#: Each word with its kind and what it stands for.
_WORDS: dict[str, tuple[str, int]] = {
    **{word: (word, 0) for word in _PLAIN},
    **{word: ("unit", 60 if word == "hours" else 1) for word in _UNITS},
    **{word: ("ordinal", number % 5 + 1) for number, word in enumerate(_ORDINALS)},
    **{form: ("weekday", number) for number, name in enumerate(_WEEKDAYS) for form in (name, name[:3])},
    **{form: ("month name", days) for name, days in _MONTHS for form in (name, name[:3])},
}
# Words may stand without spaces between them, so the longest known one counts.
_KNOWN = "|".join(sorted(_WORDS, key=len, reverse=True))
_TOKEN = re.compile(rf"(\d{{1,2}}:\d{{2}}|{_KNOWN}|\d+|,)|\s+|([A-Za-z]+|.)")
_EXAMPLES = (
    '"every 5 minutes", "every day 04:00", "every mon,thu 09:30", "1,15 of month 00:00", "first monday of jan 12:00"'
)


class ScheduleError(ValueError):
    """A schedule that App Engine would not take; the message says where and shows forms that it takes."""


def check(text: str) -> None:
    """Check a schedule.

    Args:
        text: what stands after `schedule:`.

    Raises:
        ScheduleError: App Engine does not take it.
    """
    try:
        _Parser(text).schedule()
    except ScheduleError as error:
        raise ScheduleError(f"{text!r}: {error}; forms that are taken: {_EXAMPLES}") from None


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0

    def schedule(self) -> None:
        """Read a whole schedule."""
        if self._kind(0) == "every" and self._kind(1) == "number":
            self._interval()
        else:
            self._specific()
        if self._kind(0) != "end":
            raise ScheduleError(f"{self._word(0)!r} is too much")

    def _interval(self) -> None:
        self._take("every")
        count = self._take("number", most=99_999)
        unit = self._take("unit")
        if not count:
            raise ScheduleError("an interval of 0 is none")
        if self._kind(0) == "synchronized":
            self._at += 1
            if _MINUTES_A_DAY % (count * unit):
                raise ScheduleError("synchronized needs an interval that divides 24 hours evenly")
        elif self._kind(0) == "from":
            self._at += 1
            self._take("time")
            self._take("to")
            self._take("time")

    def _specific(self) -> None:
        if self._kind(0) == "number":
            days = self._listed("number", most=31, least=1)
            self._take("of")
            months = self._months()
            if days and months and min(days) > max(months):
                raise ScheduleError(f"none of these months has a day {min(days)}")
        else:
            if self._kind(0) == "every":
                self._at += 1
            else:
                self._listed("ordinal")
            self._weekdays()
            if self._kind(0) == "of":
                self._at += 1
                self._months()
        self._take("time")

    def _weekdays(self) -> None:
        if self._kind(0) == "day":
            self._at += 1
        else:
            self._listed("weekday")

    def _months(self) -> list[int]:
        """Read which months, and return how many days each has; nothing for every month or one of each quarter."""
        if self._kind(0) in ("month", "quarter"):
            self._at += 1
            return []
        if self._kind(0) == "ordinal":
            self._listed("ordinal", most=3)
            for kind in ("month", "of", "quarter"):
                self._take(kind)
            return []
        return self._listed("month name")

    def _listed(self, kind: str, *, most: int = 99, least: int = 0) -> list[int]:
        found = [self._take(kind, most=most, least=least)]
        while self._kind(0) == "comma":
            self._at += 1
            found.append(self._take(kind, most=most, least=least))
        return found

    def _take(self, kind: str, *, most: int = 99, least: int = 0) -> int:
        found, word, value = self._tokens[self._at]
        if found != kind:
            raise ScheduleError(
                f"{_described(kind)} must stand where {word!r} stands"
                if word
                else f"{_described(kind)} is missing at its end"
            )
        if not least <= value <= most and kind in ("number", "ordinal"):
            raise ScheduleError(f"{word!r} is outside {least} to {most}")
        self._at += 1
        return value

    def _kind(self, ahead: int) -> str:
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)][0]

    def _word(self, ahead: int) -> str:
        return self._tokens[self._at + ahead][1]


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """Return (kind, word, value) for each word, and an end."""
    found: list[tuple[str, str, int]] = []
    for match in _TOKEN.finditer(text):
        word, wrong = match.groups()
        if wrong:
            small = ", where words are in small letters" if wrong.lower() in _WORDS else ""
            raise ScheduleError(f"{wrong!r} has no place in a schedule{small}")
        if word is None:
            continue
        found.append(_token(word))
    return [*found, ("end", "", 0)]


def _token(word: str) -> tuple[str, str, int]:
    if word == ",":
        return "comma", word, 0
    if ":" in word:
        hour, minute = (int(part) for part in word.split(":"))
        if hour > 23 or minute > 59:
            raise ScheduleError(f"{word!r} is not a time of day, 0:00 to 23:59")
        return "time", word, hour * 60 + minute
    if word.isdigit():
        return "number", word, int(word)
    kind, value = _WORDS[word]
    return kind, word, value


def _described(kind: str) -> str:
    return {"unit": "mins, minutes or hours", "time": "a time such as 09:30", "number": "a number"}.get(
        kind, f"a {kind}"
    )
