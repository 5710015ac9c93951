"""Reads entries of an ASCII measurement list, one a line, with Keylime's parser; says of each what it would extend."""

import json
import sys

from keylime.common.algorithms import Hash
from keylime.ima.ast import Entry, ParserError

for line in sys.stdin.buffer:
    try:
        entry = Entry(line.decode("utf-8", "surrogateescape").rstrip("\n"), pcr_hash_alg=Hash.SHA256)
        mode = entry.mode
        path = getattr(mode, "path", None) or getattr(mode, "name", None)
        answer = {
            "pcr": int(entry.pcr),
            "extends": entry.pcr_template_hash.hex(),
            "path": path.name if hasattr(path, "name") else str(path),
            "digest": mode.digest.hash.hex(),
        }
    except (ParserError, ValueError, IndexError) as error:
        answer = {"refused": str(error)}
    print(json.dumps(answer))
