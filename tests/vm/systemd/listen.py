#!/usr/bin/python3
"""Listens on a port, IPv4 and IPv6, and closes what it accepts."""

import socket
import sys

server = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, backlog=1024, dualstack_ipv6=True)
while True:
    connection, _ = server.accept()
    connection.close()
