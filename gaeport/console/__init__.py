"""The admin pages under /_gaeport/, rendered on the server; off until gaeport.toml has a password's hash.

A page is a module with `answer(request)`, named in `gaeport.console.pages`; `gaeport.console.application` lets only
those who logged in reach it.
"""
