"""`gaeport serve` and `gaeport run`: an application on this machine, as App Engine would run it."""
