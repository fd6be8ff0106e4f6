import os


def index():
    session.visits = (session.visits or 0) + 1
    return f"visit {session.visits} by {auth.user.first_name if auth.user else 'nobody'}"


def user():
    return dict(form=auth())


@auth.requires_login()
def items():
    return dict(grid=SQLFORM.grid(db.item, user_signature=False))


def tagged():
    rows = db(db.item.tags.contains(request.args(0))).select(orderby=db.item.name)
    return ",".join(f"{row.name}:{'+'.join(row.tags)}:{row.price}:{row.seller.first_name}" for row in rows)


def download():
    return response.download(request, db)


def counted():
    return str(cache.ram("counted", lambda: os.getpid(), time_expire=60))


def process():
    return str(os.getpid())


def broken():
    price = 0
    return 1 / price


def lost():
    db.item.insert(name="never to be seen", tags=["lost"])
    raise ValueError("after a write")


def write():
    with open(os.path.join(request.folder, "static", "new.txt"), "w") as file:
        file.write("new")
