import os


def index():
    session.visits = (session.visits or 0) + 1
    return f"visit {session.visits}"


def process():
    return str(os.getpid())


def renew():
    session.renew()
    return response.session_id


def clear():
    session.clear()
    return "cleared"
