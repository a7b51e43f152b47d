"""`python -m nescord.web FD`: answer on the listening socket of that number until told to end."""

from __future__ import annotations

import socket
import sys

from nescord.errors import NescordError
from nescord.settings import Settings
from nescord.web.server import StatusServer
from nescord.web.site import Site


def _main() -> int:
    try:
        site = Site(Settings())
    except NescordError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    with StatusServer(socket.socket(fileno=int(sys.argv[1])), site.answer) as server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(_main())
