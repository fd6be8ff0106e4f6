# An application as web2py's users write it, on SQLite, with plain file sessions. Public domain.
from gaeport.cache import Cache
from gluon.tools import Auth

db = DAL("sqlite://storage.sqlite", pool_size=10)
auth = Auth(db)
auth.define_tables(username=False, signature=False)
auth.settings.registration_requires_verification = False
auth.settings.registration_requires_approval = False

cache.ram = cache.disk = Cache("memcached://MEMCACHED")

db.define_table(
    "item",
    Field("name", requires=IS_NOT_EMPTY()),
    Field("tags", "list:string"),
    Field("picture", "upload"),
    Field("price", "decimal(8,2)"),
    Field("seller", "reference auth_user", default=auth.user_id, writable=False),
    format="%(name)s",
)
