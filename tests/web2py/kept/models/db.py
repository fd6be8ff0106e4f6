# An application without a database, whose sessions are in memcached. Public domain.
from gaeport.sessions import web2py

session.connect(request, response, db=web2py("memcached://MEMCACHED"))
