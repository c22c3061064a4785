#!/usr/bin/python3
"""Speaks the part of DigitalOcean's API that a database's list needs, to whoever has the token."""

import http.server
import json
import sys

token, address = sys.argv[1:]
RULE = {
    "uuid": "79f26d28-ea8a-41f2-8ad8-8cfcdd020095",
    "cluster_uuid": "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30",
    "type": "ip_addr",
    "value": address,
    "created_at": "2026-01-01T00:00:00Z",
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.headers.get("Authorization") == f"Bearer {token}"
        code, answer = (200, {"rules": [RULE]}) if known else (401, {"id": "unauthorized", "message": "no"})
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.HTTPServer(("127.0.0.1", 8081), Handler).serve_forever()
