"""In place of the status page, for tests of what runs it: `toy_web FD` answers every GET, or ends at once."""

from __future__ import annotations

import os
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503)  # an answer all the same
        self.send_header("Content-Length", "0")
        self.end_headers()


def main() -> None:
    print(f"token {os.environ.get('NESCORD_STATUS_TOKEN', 'none')}", flush=True)
    if "TOY_WEB_ENDS" in os.environ:
        sys.exit(3)
    server = HTTPServer(("::", 0), _Answer, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=int(sys.argv[1]))
    server.serve_forever()


if __name__ == "__main__":
    main()
