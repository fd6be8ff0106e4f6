"""Cron schedules are judged as the SDK's own parser judges them."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tools.check.schedule import ScheduleError, check

VALID = """\
every 5 minutes
every 5 mins
every 1 hours
every 12 hours
every 25 hours
every 1441 minutes
every  5   minutes
every 5 minutes from 10:00 to 14:00
every 5 minutes from 14:00 to 10:00
every 5 hours from 9:00 to 17:30
every 2 hours synchronized
every 30 mins synchronized
every 24 hours synchronized
every day 00:00
every day 0:00
every day 23:59
every monday 09:00
every mon 09:00
every sunday 23:59
every mon,wed,fri 09:00
every monday,  wed 09:00
every tue, thu 10:00
every day of jan 09:00
every monday of jan 09:00
every monday of month 09:00
every tuesday of first month of quarter 09:00
1st monday of month 04:00
first monday of sep,oct,nov 17:00
2nd,third mon,wed,thu of march 17:00
5th monday of month 00:00
first,1st mon of jan 00:00
2nd day of month 00:00
third monday 09:00
third monday of month 9:00
1 of jan,april,july,oct 00:00
1 of month 04:00
1,15 of month 04:00
31 of jan,feb 04:00
29 of feb 04:00
1 of quarter 00:00
7 of 2nd,3rd month of quarter 00:00
every5mins
""".splitlines()

INVALID = """\

every 1 minute
every minute
every hour
every 0 minutes
every 7 minutes synchronized
every 5 minutes from 10:00
every 5 minutes from 10:00 to
every 5 minutes from 9:00 to 17:00 synchronized
every 30 seconds
every 2 days
every 1 day
every 100000 minutes
every 3 hrs
every 3 hour
every mins 3
every day
every day 24:00
every day 12:60
every day 9:5
every day 12pm
every day 00:00 UTC
every weekday 09:00
every third monday 09:00
every thur 10:00
every tues 10:00
every sept 1
every monday of 09:00
monday 09:00
day 09:00
6th monday of month 00:00
last day of month 00:00
1st of month 04:00
1st,third of month 04:00
31 of feb 04:00
30 of feb 00:00
31 of apr,jun 00:00
32 of month 00:00
0 of month 00:00
1 of month
1 of fourth month of quarter 00:00
*/5 * * * *
0 0 * * *
@daily
hourly
daily
EVERY 5 MINUTES
Every Monday 09:00
""".splitlines()

_ORACLE = """
import json, sys
sys.path[:0] = [sys.argv[1] + "/lib", sys.argv[1] + "/lib/third_party"]
from googlecloudsdk.appengine.googlecron import groctimespecification
answers = []
for text in json.load(sys.stdin):
    try:
        groctimespecification.GrocTimeSpecification(text)
        answers.append(True)
    except Exception:
        answers.append(False)
print(json.dumps(answers))
"""

_FORMS = [
    "every N U",
    "every N U synchronized",
    "every N U from T to T",
    "every D T",
    "every D of M T",
    "O D of M T",
    "O D T",
    "N of M T",
    "N , N of M , M T",
    "O , O D , D of month T",
    "O D of O month of quarter T",
    "N of quarter T",
]
_CHOICES = {
    "N": ["1", "5", "15", "31", "30", "0", "60", "7", "100", "10000", "29", "01", "32", "012"],
    "U": ["mins", "minutes", "hours", "hour"],
    "T": ["00:00", "9:30", "23:59", "24:00", "12:5"],
    "D": ["monday", "tue", "sun", "day", "thursday", "month"],
    "M": ["jan", "february", "sept", "apr", "month", "quarter", "may", "feb"],
    "O": ["first", "2nd", "third", "5th", "fourth", "4th", "3rd", "6th"],
}
_EXTRA = ["every", "of", "day", "month", "1", "12:00", ",", "mins", "first", "x"]


def taken(text: str) -> bool:
    try:
        check(text)
    except ScheduleError:
        return False
    return True


def made(chance: random.Random) -> str:
    """Return a schedule of a known form, now and then with a word too many or too few."""
    words = [chance.choice(_CHOICES.get(word, [word])) for word in chance.choice(_FORMS).split()]
    if chance.random() < 0.3:
        words.insert(chance.randint(0, len(words)), chance.choice(_EXTRA))
    if chance.random() < 0.2:
        words.pop(chance.randrange(len(words)))
    return chance.choice([" ", " ", "  ", ""]).join(words)


@pytest.mark.parametrize("text", VALID)
def test_what_app_engine_takes(text: str) -> None:
    check(text)


@pytest.mark.parametrize("text", INVALID)
def test_what_it_refuses_is_told_with_forms_that_it_takes(text: str) -> None:
    with pytest.raises(ScheduleError, match="every 5 minutes"):
        check(text)


def test_the_sdks_own_parser_says_the_same(sdk: Path) -> None:
    chance = random.Random(3)
    texts = [*VALID, *INVALID, *(made(chance) for _ in range(1_000))]
    command = [sys.executable, "-W", "ignore", "-c", _ORACLE, str(sdk)]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True)
    answers = dict(zip(texts, json.loads(done.stdout), strict=True))
    assert {text: taken(text) for text in texts} == answers
    assert sum(answers.values()) > 150
