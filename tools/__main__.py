"""`python -m tools` in a checkout, `python -m gaeport_tools` from the wheel."""

import sys

from .command import main

sys.exit(main())
