"""`python -m gaeport`, the same as the `gaeport` command."""

import sys

from gaeport.cli import main

sys.exit(main())
