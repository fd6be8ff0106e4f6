"""What App Engine serves: `app`, the application that gaeport.toml names, with gaeport's parts around it.

`python main.py` serves it here in one process, where breakpoints work.
"""

import sys

import gaeport
from gaeport import settings, wsgi

config = settings.beside(__file__)

if __name__ == "__main__":
    from gaeport.cli import main

    sys.exit(main(["serve", "--workers", "1", "--app", config.app or wsgi.DEFAULT_APPLICATION, *sys.argv[1:]]))

app = gaeport.wrap(config.app or wsgi.DEFAULT_APPLICATION)
