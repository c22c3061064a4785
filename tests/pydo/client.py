"""What the scripts share: arguments, the client, and what is an error.

Every script is called as SCRIPT ENDPOINT TOKEN_FILE ACTION [ARGUMENT...] and prints JSON. The
certificate of ENDPOINT is verified; REQUESTS_CA_BUNDLE names an authority to trust.
"""

import json
import pathlib
import sys

import pydo


def main(actions):
    """Runs the action the command line names; `actions` maps names to functions."""
    if len(sys.argv) < 4 or sys.argv[3] not in actions:
        sys.exit(f"usage: {sys.argv[0]} ENDPOINT TOKEN_FILE {'|'.join(actions)} [ARGUMENT...]")
    endpoint, token_file, action, *arguments = sys.argv[1:]
    token = pathlib.Path(token_file).read_text(encoding="ascii").strip()
    # A failure is to be seen, not tried again with pauses in between.
    client = pydo.Client(token, endpoint=endpoint, retry_total=0)
    print(json.dumps(actions[action](client, *arguments)))


def checked(answer):
    """The answer, unless it is an error: pydo does not raise for a 404."""
    if answer is not None and set(answer) >= {"id", "message"} and isinstance(answer["id"], str):
        sys.exit(f"{answer['id']}: {answer['message']}")
    return answer
