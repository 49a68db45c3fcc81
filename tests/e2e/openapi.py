"""An OpenAPI 3.1 document, what is wrong with it, and whether an answer is as it says.

openapi.py DOCUMENT VERSION prints what is wrong with the document as TAP; openapi_calls.py asks the daemon."""
import json
import re
import sys
import warnings

import jsonschema
import yaml

warnings.simplefilter("ignore", DeprecationWarning)
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")


def json_of(headers, body):
    """Of an answer that may have bytes behind its JSON."""
    size = headers.get("Inference-Header-Content-Length")
    return json.loads(body[:int(size)] if size else body)


class Document:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.root = yaml.safe_load(file)
        self.resolver = jsonschema.RefResolver("", self.root)

    def resolve(self, node):
        while isinstance(node, dict) and "$ref" in node:
            node = self.resolver.resolve(node["$ref"])[1]
        return node

    def operations(self):
        """(METHOD, path template, operation) of every one."""
        for path, item in self.root["paths"].items():
            for method in METHODS:
                if method in item:
                    yield method.upper(), path, item[method]

    def template(self, path):
        """The template that a path is of: words before {parameters}. None: no such path."""
        path = path.split("?")[0]
        found = [t for t in self.root["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", re.escape(t).replace(r"\{", "{")
                                                                        .replace(r"\}", "}")), path)]
        return min(found, key=lambda t: t.count("{"), default=None)

    def errors_of(self, schema, value):
        validator = jsonschema.Draft202012Validator(schema, resolver=self.resolver)
        try:
            return ["%s: %s" % ("/".join(map(str, e.absolute_path)) or "the body", e.message[:300])
                    for e in validator.iter_errors(value)]
        except jsonschema.RefResolutionError as error:
            return [str(error)]

    def validate(self, method, path, status, headers, body):
        """What is wrong with an answer, as texts; headers.get() takes any case."""
        template = self.template(path)
        item = self.root["paths"].get(template, {})
        operation = item.get(method.lower())
        if operation:
            responses = operation["responses"]
            response = self.resolve(responses.get(str(status), responses.get("default")))
        elif template and status == 405:
            response = self.root["components"]["responses"]["MethodNotAllowed"]
        elif not template and 400 <= status < 500:  # no path of the document; also what is refused before it is looked at
            response = self.root["components"]["responses"]["NotFound"]
        else:
            return ["%s %s: not in the document, answered %d" % (method, path, status)]
        return self.errors_of_response(response, status, headers, body)

    def errors_of_response(self, response, status, headers, body):
        errors = []
        for name, header in response.get("headers", {}).items():
            value = headers.get(name)
            if value is None and "length of the JSON" not in header.get("description", ""):
                errors.append("header %s is missing" % name)
            elif value is not None:
                errors += self.errors_of(header["schema"], value)
        content_type = (headers.get("Content-Type") or "").split(";")[0]
        media = response.get("content", {}).get(content_type)
        if media is None:
            return errors + ["content type '%s' of a %d is not in the document" % (content_type, status)]
        if content_type == "application/json":
            try:
                value = json_of(headers, body)
            except ValueError as error:
                return errors + ["not JSON: %s" % error]
            errors += self.errors_of(media["schema"], value)
        return errors


def nodes(node, where=""):
    yield where, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from nodes(child, "%s/%s" % (where, key))


def problems_of_refs(document):
    for where, node in nodes(document.root):
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            try:
                document.resolve(node)
            except jsonschema.RefResolutionError:
                yield "%s: no such thing as %s" % (where, node["$ref"])


def problems_of_unused(document):
    used = {node["$ref"] for _, node in nodes(document.root) if isinstance(node, dict) and "$ref" in node}
    for kind, members in document.root["components"].items():
        for name in members if kind != "securitySchemes" else ():
            if "#/components/%s/%s" % (kind, name) not in used:
                yield "components/%s/%s is used nowhere" % (kind, name)


def problems_of_examples(document):
    for where, node in nodes(document.root):
        if isinstance(node, dict) and "schema" in node and "example" in node:
            for error in document.errors_of(node["schema"], node["example"]):
                yield "%s/example: %s" % (where, error)
    for name, schema in document.root["components"]["schemas"].items():
        for example in schema.get("examples", []):
            for error in document.errors_of(schema, example):
                yield "schema %s: %s" % (name, error)


def problems_of_schemas(document):
    for where, node in nodes(document.root):
        if isinstance(node, dict) and "schema" in node:
            try:
                jsonschema.Draft202012Validator.check_schema(node["schema"])
            except jsonschema.SchemaError as error:
                yield "%s/schema: %s" % (where, error.message)
    for name, schema in document.root["components"]["schemas"].items():
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            yield "schema %s: %s" % (name, error.message)


def problems_of_operations(document):
    ids = [operation["operationId"] for _, _, operation in document.operations()]
    for name in {i for i in ids if ids.count(i) > 1}:
        yield "operationId %s is there twice" % name
    for method, path, operation in document.operations():
        parameters = document.root["paths"][path].get("parameters", []) + operation.get("parameters", [])
        declared = {p["name"] for p in map(document.resolve, parameters) if p["in"] == "path"}
        if declared != set(re.findall(r"\{(\w+)\}", path)):
            yield "%s %s: its path says other parameters than are declared, %s" % (method, path, sorted(declared))
        if not any(status.startswith("2") for status in operation["responses"]):
            yield "%s %s: no good answer" % (method, path)


def main():
    document, version = Document(sys.argv[1]), sys.argv[2]
    checks = [("every $ref leads somewhere", problems_of_refs), ("every component is used", problems_of_unused),
              ("schemas are JSON Schema 2020-12", problems_of_schemas), ("examples are as their schemas say",
                                                                        problems_of_examples),
              ("operations and their path's parameters", problems_of_operations)]
    print("1..%d" % (len(checks) + 1))
    for i, (name, check) in enumerate(checks):
        problems = list(check(document))
        print("%s %d - %s" % ("not ok" if problems else "ok", i + 1, name))
        for problem in problems:
            print("# %s" % problem)
    same = document.root["info"]["version"] == version
    print("%s %d - the version is the package's, %s" % ("ok" if same else "not ok", len(checks) + 1, version))


if __name__ == "__main__":
    main()
