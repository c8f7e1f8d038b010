"""A verifier: JSON lines in, JSON lines out (docs/verifiers.md). This one rewards an answer that
names the three longest words of the question, longest first, however they are parted."""
import json
import re
import sys

for line in sys.stdin:
    request = json.loads(line)
    answer = request["answer"]
    expected = request["item"]["fields"]["words"]
    said = re.findall(r"\w+", answer["content"])
    right = sum(a == b for a, b in zip(said, expected)) / len(expected)
    tidy = 1.0 if answer["finished"] and len(said) == len(expected) else 0.0
    reply = {
        "id": request["id"],
        "reward": 0.8 * right * tidy + 0.2 * tidy,
        "parts": {"right": right, "tidy": tidy},
        "text": "expected " + " ".join(expected),
    }
    print(json.dumps(reply), flush=True)
