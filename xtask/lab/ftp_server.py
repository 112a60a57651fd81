"""An FTP server by pyftpdlib. Call: ftp_server.py PORT HOMES USER:PASSWORD..."""

import os
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

port, homes = int(sys.argv[1]), sys.argv[2]
authorizer = DummyAuthorizer()
for account in sys.argv[3:]:
    user, _, password = account.partition(":")
    home = os.path.join(homes, user)
    os.makedirs(home, exist_ok=True)
    authorizer.add_user(user, password, home, perm="elradfmwMT")


class Handler(FTPHandler):
    max_login_attempts = 3
    auth_failed_timeout = 1


Handler.authorizer = authorizer
FTPServer(("::", port), Handler).serve_forever()
