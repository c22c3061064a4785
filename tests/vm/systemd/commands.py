#!/usr/bin/python3
"""Runs what is asked for on the second serial port, a line of JSON each, and answers with a line."""

import json
import os
import subprocess
import tty

PORT = os.open("/dev/ttyS1", os.O_RDWR | os.O_NOCTTY)


def say(**values):
    line = json.dumps(values).encode() + b"\n"
    while line:
        line = line[os.write(PORT, line) :]


def run(script):
    done = subprocess.run(
        ["/bin/bash", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    say(code=done.returncode, output=done.stdout.decode(errors="replace"))


tty.setraw(PORT)
with open("/proc/sys/kernel/random/boot_id") as boot:
    say(boot=boot.read().strip(), kernel=os.uname().release)
waiting = b""
while True:
    waiting += os.read(PORT, 4096)
    *lines, waiting = waiting.split(b"\n")
    for line in lines:
        run(json.loads(line)["run"])
