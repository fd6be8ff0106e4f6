"""The example application: a guest book with tags and pictures, plain WSGI, as anyone might have written it.

Notes are NDB models; pictures are saved and served with plain `open()`. Nothing in it knows where either ends up.
"""

from gaeport.welcome.application import app

__all__ = ["app"]
