"""Masks of JSON Schemas beside the `jsonschema` package. Called by tools/check_schemas.sh.

Three sets: the public test suite of draft 2020-12 (its own instances), schemas as clients send them
with instances that `hypothesis-jsonschema` draws, and random walks through the masks of both. A text
that the masks let through and the validator does not is a fault (exit 1); a valid instance that they
do not take is counted: docs/constrained-decoding.md says which.
"""
import copy
import json
import pathlib
import random
import re
import subprocess
import sys
import warnings

import jsonschema
from hypothesis import HealthCheck, given, seed, settings
from hypothesis_jsonschema import from_schema

SHOWN = 12  # of a set

CLIENT_SCHEMAS = [
    {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["n"], "additionalProperties": False},
    {"$defs": {"Step": {"properties": {"explanation": {"title": "Explanation", "type": "string"}, "output": {"type": "string"}}, "required": ["explanation", "output"], "title": "Step", "type": "object", "additionalProperties": False}},
     "properties": {"steps": {"items": {"$ref": "#/$defs/Step"}, "title": "Steps", "type": "array"}, "final_answer": {"type": "string"}}, "required": ["steps", "final_answer"], "title": "Reasoning", "type": "object", "additionalProperties": False},
    {"type": "object", "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 40}, "age": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}], "default": None}, "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 4}}, "required": ["name"]},
    {"type": "object", "properties": {"unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}, "location": {"type": "string"}}, "required": ["location", "unit"], "additionalProperties": False},
    {"type": "array", "items": {"type": "number", "minimum": -1.5, "exclusiveMaximum": 2.25}, "minItems": 1, "maxItems": 3},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string", "maxLength": 3}], "minItems": 2, "maxItems": 2},
    {"type": "string", "pattern": "^[A-Z]{2,4}-[0-9]+$"},
    {"type": "string", "pattern": "ab|cd"},
    {"type": "object", "patternProperties": {"^[a-z]+$": {"type": "integer"}}, "additionalProperties": False},
    {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "boolean"}}},
    {"oneOf": [{"type": "object", "properties": {"kind": {"const": "circle"}, "radius": {"type": "number", "exclusiveMinimum": 0}}, "required": ["kind", "radius"], "additionalProperties": False},
               {"type": "object", "properties": {"kind": {"const": "square"}, "side": {"type": "number", "exclusiveMinimum": 0}}, "required": ["kind", "side"], "additionalProperties": False}]},
    {"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"properties": {"a": {"minimum": 3}, "b": {"type": "null"}}}]},
    {"type": ["integer", "string", "null"]},
    {"enum": ["x", 1, None, True, {"a": [1, 2]}, [], "한국어", "quote\"\\\n"]},
    {"type": "integer", "multipleOf": 7, "minimum": -30, "maximum": 100},
    {"type": "integer", "exclusiveMinimum": -1000, "exclusiveMaximum": -7},
    {"type": "number", "multipleOf": 0.5, "minimum": 0, "maximum": 10},
    {"$defs": {"node": {"type": "object", "properties": {"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2}}, "required": ["value"], "additionalProperties": False}}, "$ref": "#/$defs/node"},
    {"type": "object", "minProperties": 1, "maxProperties": 2, "additionalProperties": {"type": "null"}},
    {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}, "c": {"type": "integer"}}, "minProperties": 2, "additionalProperties": False},
    {"type": "object", "propertyNames": {"enum": ["p", "q"]}, "additionalProperties": {"type": "integer"}},
    {"type": "string", "minLength": 3, "maxLength": 5},
    {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a", "zz"]},
    {},
    True,
]
FORMATS = ["date", "time", "date-time", "uuid", "email", "ipv4", "ipv6", "duration", "json-pointer"]


class Masks:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, schema, texts, walks=6, seed_=1, as_standard=True):
        request = {"schema": schema, "texts": texts, "walks": walks, "seed": seed_, "as_standard": as_standard}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the masks' program ended on {request}")
        return json.loads(line)


class Tally:
    def __init__(self):
        self.schemas = self.refused = self.written = self.unfinished = 0
        self.valid_taken = self.valid_not_taken = self.invalid_not_taken = 0
        self.faults, self.reasons, self.not_taken = [], {}, []

    def add(self, schema, validator, answer, instances, texts):
        self.schemas += 1
        if "refused" in answer:
            self.refused += 1
            message = answer["refused"]
            keyword = re.search("keyword '([^']+)'", message)
            reason = keyword.group(1) if keyword else re.sub(r"^#\S*: ", "", message)[:60]
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
            return
        self.unfinished += answer["unfinished"]
        for text in answer["written"]:
            self.written += 1
            if not is_valid(validator, json.loads(text)):
                self.faults.append(("written", schema, text))
        for instance, text, taken in zip(instances, texts, answer["taken"]):
            valid = is_valid(validator, instance)
            if taken and not valid:
                self.faults.append(("taken", schema, text))
            elif valid and not taken:
                self.valid_not_taken += 1
                self.not_taken.append((schema, text))
            elif valid:
                self.valid_taken += 1
            else:
                self.invalid_not_taken += 1

    def show(self, name):
        print(f"{name}: {self.schemas} schemas, {self.refused} refused; {self.written} answers written, all judged, "
              f"{self.unfinished} walks without an end; instances: {self.valid_taken} valid and taken, "
              f"{self.valid_not_taken} valid and not taken, {self.invalid_not_taken} invalid and not taken; {len(self.faults)} faults")
        if self.reasons:
            print("  refused for: " + ", ".join(f"{k} {v}" for k, v in sorted(self.reasons.items(), key=lambda i: -i[1])))
        for schema, text in self.not_taken[:: max(1, len(self.not_taken) // SHOWN)]:
            print("  not taken:", json.dumps(schema, ensure_ascii=False)[:150], text[:80])
        for fault in self.faults[:20]:
            print("  FAULT", fault)


def is_valid(validator, instance):
    try:
        return validator.is_valid(instance)
    except Exception:  # Schemas that the validator itself cannot resolve.
        return False


def in_order(schema, instance):
    """The members that the schema lists first, in its order: the order in which masks write."""
    if isinstance(instance, list):
        return [in_order({}, i) for i in instance]
    if not isinstance(instance, dict):
        return instance
    listed = list(schema.get("properties", {})) + schema.get("required", []) if isinstance(schema, dict) else []
    names = [n for n in listed if n in instance] + [n for n in instance if n not in listed]
    return {n: instance[n] for n in names}


def text_of(instance):
    return json.dumps(instance, ensure_ascii=False)


def suite(masks, folder, as_standard):
    tally = Tally()
    for path in sorted(pathlib.Path(folder).glob("*.json")):
        for case in json.loads(path.read_text()):
            schema = case["schema"]
            instances = [in_order(schema, t["data"]) for t in case["tests"]]
            texts = [text_of(i) for i in instances]
            validator = jsonschema.Draft202012Validator(schema)
            tally.add(schema, validator, masks.ask(schema, texts, as_standard=as_standard), instances, texts)
    return tally


def random_tree(rng, depth=0):
    tree = {"value": rng.randint(-9, 99)}
    if rng.random() < 0.6:
        tree["children"] = [random_tree(rng, depth + 1) for _ in range(rng.randint(0, 2) if depth < 4 else 0)]
    return tree


def draw(schema, count):
    if "$ref" in json.dumps(schema) and "node" in json.dumps(schema):  # Recursive: not hypothesis-jsonschema's.
        rng = random.Random(1)
        return [random_tree(rng) for _ in range(count)]
    out = []

    @seed(1)
    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(from_schema(copy.deepcopy(schema)))  # It rewrites what it is given.
    def collect(instance):
        out.append(in_order(schema, instance))

    collect()
    return out


def clients(masks):
    tally = Tally()
    for schema in CLIENT_SCHEMAS:
        instances = draw(schema, 60)
        texts = [text_of(i) for i in instances]
        validator = jsonschema.Draft202012Validator(schema)
        tally.add(schema, validator, masks.ask(schema, texts, walks=40), instances, texts)
        tally.add(schema, validator, masks.ask(schema, [], walks=40, as_standard=False), [], [])
    return tally


def formats(masks):
    tally = Tally()
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    for name in FORMATS:
        schema = {"type": "string", "format": name}
        validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
        tally.add(schema, validator, masks.ask(schema, [], walks=100), [], [])
    return tally


def main():
    warnings.simplefilter("ignore")
    masks = Masks(sys.argv[1])
    faults = 0
    for name, run in [
        ("suite, as the standard", lambda: suite(masks, sys.argv[2], True)),
        ("suite, listed members only", lambda: suite(masks, sys.argv[2], False)),
        ("clients' schemas", lambda: clients(masks)),
        ("formats", lambda: formats(masks)),
    ]:
        tally = run()
        tally.show(name)
        faults += len(tally.faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
