# Holds messages against their AsyncAPI document: schema.py DOCUMENT
# Reads lines of JSON {"from": "server"|"client", "message": …}, and prints what is wrong with them: a message that breaks
# its schema, a key of a server's message that the schema does not name, a message of the document that never came, and
# one that the other side says.
import json, sys

import jsonschema, yaml


def named(schema, components):
    """The keys that an object's schema names; None if it names none."""
    if "$ref" in schema:
        node = components
        for step in schema["$ref"].removeprefix("#/components/").split("/"):
            node = node[step]
        return named(node, components)
    found = None
    for part in [schema, *schema.get("allOf", [])]:
        keys = part.get("properties") if part is schema else named(part, components)
        if keys is not None:
            found = {**(found or {}), **keys}
    return found


def unnamed(value, schema, components, path=""):
    """The keys of a value that its schema does not name, all the way down."""
    keys = named(schema, components)
    if not isinstance(value, dict) or keys is None:
        return []
    found = []
    for key, inner in value.items():
        if key in keys:
            found += unnamed(inner, keys[key], components, f"{path}/{key}")
        else:
            found.append(f"{path}/{key}")
    return found


document = yaml.safe_load(open(sys.argv[1]))
components = document["components"]
says = {
    side: {message["$ref"].rsplit("/", 1)[1] for message in document["operations"][operation]["messages"]}
    for side, operation in (("server", "tell"), ("client", "hear"))
}
missing = {side: set(messages) for side, messages in says.items()}
wrong = []
for line in sys.stdin:
    said = json.loads(line)
    side, message = said["from"], said["message"]
    kind = message["type"]
    if kind not in says[side]:
        wrong.append(f"{side} does not say {kind}")
        continue
    missing[side].discard(kind)
    payload = components["messages"][kind]["payload"]
    schema = {**payload, "components": components}
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    wrong += [f"{kind}{error.json_path}: {error.message}" for error in validator.iter_errors(message)]
    wrong += [f"{kind}{path} is not in the document" for path in unnamed(message, payload, components)]
for side, kinds in missing.items():
    wrong += [f"{side} never said {kind}" for kind in sorted(kinds)]
print("\n".join(sorted(set(wrong))))
