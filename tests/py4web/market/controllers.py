# Public domain.
import os

from py4web import action
from py4web.utils.grid import Grid

from .common import auth, db, session


@action("index")
@action.uses(auth)
def index():
    return auth.get_user().get("first_name", "nobody")


@action("items", method=["GET", "POST"])
@action("items/<path:path>", method=["GET", "POST"])
@action.uses("items.html", auth.user, db, session)
def items(path=None):
    return {"grid": Grid(db.item.id > 0, orderby=[db.item.name])}


@action("tagged/<tag>")
@action.uses(db)
def tagged(tag):
    rows = db(db.item.tags.contains(tag)).select(orderby=db.item.name)
    return ",".join(f"{row.name}:{'+'.join(row.tags)}:{row.picture}" for row in rows)


@action("process")
def process():
    return str(os.getpid())


@action("broken")
@action.uses(db)
def broken():
    price = 0
    return str(1 / price)


@action("write")
def write():
    with open(os.path.join(os.path.dirname(__file__), "static", "new.txt"), "w") as file:
        file.write("new")
    return "written"
