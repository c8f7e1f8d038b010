"""A verifier: JSON lines in, JSON lines out (docs/verifiers.md). The answer should be the question's
numbers in order, each once. Nearly right earns a little, so that there is a way to climb."""
import json
import sys

for line in sys.stdin:
    request = json.loads(line)
    numbers = request["item"]["fields"]["numbers"]
    expected = [str(n) for n in sorted(set(numbers))]
    said = request["answer"]["content"].split()
    once = len(said) == len(set(said))
    found = len(set(said) & set(expected)) / max(len(set(said) | set(expected)), 1)
    right = said == expected
    reply = {
        "id": request["id"],
        "reward": 1.0 if right else 0.3 * found * once,
        "parts": {"right": float(right), "once": float(once)},
        "text": "expected " + " ".join(expected),
    }
    print(json.dumps(reply), flush=True)
