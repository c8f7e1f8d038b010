"""An environment: JSON lines in, JSON lines out (docs/environments.md). This one thinks of a number,
says "higher" or "lower" to each guess, and pays for finding it in few guesses.
With arguments `traces N` it writes N played games instead, as conversations to fine-tune on."""
import json
import random
import sys

TOOLS = [{"type": "function", "function": {"name": "guess", "parameters": {"n": "integer"}}}]


def said_of(number, guess):
    if not isinstance(guess, int) or isinstance(guess, bool):
        return "say a number"
    return "right" if guess == number else "higher" if guess < number else "lower"


class Game:
    def __init__(self, item, seed):
        self.high = item["fields"]["high"]
        self.number = random.Random(seed).randint(1, self.high)
        self.guesses, self.found = 0, False

    def reply(self, answer):
        messages = []
        for call in answer["tool_calls"]:
            arguments = call["arguments"] if isinstance(call["arguments"], dict) else {}
            said = said_of(self.number, arguments.get("n")) if call["name"] == "guess" else "no such tool"
            self.guesses += 1
            self.found |= said == "right"
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": said})
        return {"messages": messages, "done": self.found or not messages}

    def finish(self):
        halvings = self.high.bit_length()
        reward = max(0.1, 1 - max(0, self.guesses - halvings + 1) / halvings) if self.found else 0
        return {"reward": reward, "parts": {"found": int(self.found), "guesses": self.guesses},
                "text": f"the number was {self.number}"}


def play():
    games = {}
    for line in sys.stdin:
        request = json.loads(line)
        episode, reply = request["episode"], {}
        if request["call"] == "start":
            games[episode] = Game(request["item"], request["seed"])
            reply = {"tools": TOOLS}
        elif request["call"] == "reply":
            reply = games[episode].reply(request["answer"])
        else:
            reply = games.pop(episode).finish()
        print(json.dumps({"id": request["id"], **reply}), flush=True)


# Half of the games by halves, half by any number that is still possible: what is better is for
# reinforcement learning to find out.
def traces(count):
    rng = random.Random(7)
    for _ in range(count):
        high = rng.choice((7, 15))
        number, low, top, halves = rng.randint(1, high), 1, high, rng.random() < 0.5
        messages = [{"role": "user", "content": f"My number is 1 to {high}."}]
        while True:
            guess = (low + top) // 2 if halves else rng.randint(low, top)
            call = {"type": "function", "id": "c", "function": {"name": "guess", "arguments": json.dumps({"n": guess})}}
            said = said_of(number, guess)
            messages.append({"role": "assistant", "reasoning_content": f"{low} to {top}", "content": "", "tool_calls": [call]})
            if said == "right":
                break
            messages.append({"role": "tool", "tool_call_id": "c", "content": said})
            low, top = (guess + 1, top) if said == "higher" else (low, guess - 1)
        print(json.dumps({"messages": messages, "tools": TOOLS}))


if len(sys.argv) == 3 and sys.argv[1] == "traces":
    traces(int(sys.argv[2]))
else:
    play()
