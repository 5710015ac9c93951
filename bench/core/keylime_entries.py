"""Entries that Keylime verifies a second: keylime_entries.py ENTRIES ROUNDS. The same list as list-entries.ts, as the kernel prints
it, with a runtime policy of the same files. Prints one JSON object; times are of CPU."""

import hashlib
import json
import struct
import sys
import time
import types

# Python bindings of GPG, for signed policies: Keylime imports them, and nothing measured here uses them.
sys.modules["gpg"] = types.ModuleType("gpg")

from keylime.common.algorithms import Hash  # noqa: E402
from keylime.ima import ima  # noqa: E402

count, rounds = int(sys.argv[1]), int(sys.argv[2])
paths = [f"/usr/lib/x86_64-linux-gnu/python3/dist-packages/module_{n}.so" for n in range(count)]
digests = [hashlib.sha256(path.encode()).digest() for path in paths]
lines, pcr = [], bytes(32)
for path, digest in zip(paths, digests):
    field, name = b"sha256:\0" + digest, path.encode() + b"\0"
    data = struct.pack("<I", len(field)) + field + struct.pack("<I", len(name)) + name
    lines.append(f"10 {hashlib.sha1(data).hexdigest()} ima-ng sha256:{digest.hex()} {path}")
    pcr = hashlib.sha256(pcr + hashlib.sha256(data).digest()).digest()

policy = json.loads(json.dumps(ima.EMPTY_RUNTIME_POLICY))
policy["digests"] = {path: [digest.hex()] for path, digest in zip(paths, digests)}
best = 0.0
for _ in range(rounds):
    began = time.process_time()
    seen, failure = ima.process_measurement_list(None, lines, policy, pcr.hex(), hash_alg=Hash.SHA256)
    took = time.process_time() - began
    if failure or seen != pcr.hex():
        sys.exit(f"keylime did not accept the list: {seen}")
    best = max(best, count / took)
print(json.dumps({"count": count, "matched": best}))
