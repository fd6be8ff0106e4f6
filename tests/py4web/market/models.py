# Public domain.
from . import settings
from .common import Field, auth, db

db.define_table(
    "item",
    Field("name"),
    Field("tags", "list:string"),
    Field("picture", "upload", uploadfolder=settings.UPLOAD_FOLDER),
    auth.signature,
    format="%(name)s",
)
