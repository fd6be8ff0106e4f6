"""`gaeport new`: an application's folder with everything that `gcloud app deploy` reads.

A module here for each kind of application; `project` writes what they name and never overwrites.
"""
