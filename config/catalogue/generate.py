#!/usr/bin/env python3
"""Write config/catalogue/runway.json from Runway's official Python SDK.

    python3 config/catalogue/generate.py [--check] [--sdk-dir DIR]

Everything that the SDK's types say is read from its source with `ast`; nothing
of it is imported or run. What the types do not hold (prices, which field takes
a dropped file, the prompt field, successors of dropped models) comes from the
hand-written curated.json beside this script.

Without --sdk-dir the pinned versions are fetched with `pip download`. With it,
DIR/VERSION/runwayml must hold the unpacked packages. --check writes nothing and
exits 1 when the checked-in file is not what this script makes.
"""

import argparse
import ast
import difflib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "runwayml"
NEWEST = "5.24.0"
# Only for the models in curated.json's "dropped".
OLDER = "4.0.0"

SCHEMA = 1
HERE = Path(__file__).resolve().parent
TARGET = HERE / "runway.json"
CURATED = HERE / "curated.json"

KINDS = ("image", "video", "audio")

# Posts that answer a pollable id but start no generation. None at present.
DENIED_PATHS = frozenset()


# --- the SDK as syntax trees -------------------------------------------------


class Module:
    """One source file: its classes, type aliases and imports, by name."""

    def __init__(self, path):
        self.path = path
        self.classes = {}
        self.aliases = {}
        self.imports = {}
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self.aliases[node.target.id] = node.value
            elif isinstance(node, ast.ImportFrom) and node.level:
                base = path.parent
                for _ in range(node.level - 1):
                    base = base.parent
                for part in (node.module or "").split("."):
                    base = base / part if part else base
                for name in node.names:
                    self.imports[name.asname or name.name] = (base, name.name)


class Sdk:
    """One unpacked version of the package."""

    def __init__(self, root):
        self.root = root
        self.modules = {}

    def module(self, path):
        if path not in self.modules:
            self.modules[path] = Module(path)
        return self.modules[path]

    def find(self, module, name):
        """The module and node that define `name` as seen from `module`."""
        if name in module.classes:
            return module, module.classes[name]
        if name in module.aliases:
            return module, module.aliases[name]
        if name in module.imports:
            base, original = module.imports[name]
            path = base.with_suffix(".py")
            if path.is_file():
                return self.find(self.module(path), original)
        raise SystemExit(f"{module.path}: cannot find the type {name}")


def slice_items(node):
    return node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]


def subscript_name(node):
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        return node.value.id
    return None


def discover(sdk):
    """Yield (path, poll, module, params class) for every POST that starts a task.

    Such a POST is recognised by what its method does with the answer: it is made
    awaitable with `create_waitable_resource`, or its `id` is documented as that
    of a workflow invocation.
    """
    for source in sorted((sdk.root / "resources").rglob("*.py")):
        module = sdk.module(source)
        for cls in module.classes.values():
            if cls.name.startswith("Async"):
                continue
            for call in ast.walk(cls):
                if not (
                    isinstance(call, ast.Call)
                    and isinstance(call.func, ast.Attribute)
                    and call.func.attr == "_post"
                ):
                    continue
                path = post_path(call)
                arguments = {k.arg: k.value for k in call.keywords}
                poll = poll_path(sdk, module, arguments["cast_to"])
                if poll is None or path in DENIED_PATHS:
                    continue
                # body=maybe_transform({...}, some_params.SomeParams)
                params = arguments["body"].args[1]
                base, name = module.imports[params.value.id]
                yield path, poll, sdk.module(base / f"{name}.py"), params.attr


def post_path(call):
    first = call.args[0]
    if isinstance(first, ast.Call):  # path_template("/v1/workflows/{id}", id=id)
        first = first.args[0]
    return first.value


def poll_path(sdk, module, cast_to):
    names = {n.id for n in ast.walk(cast_to) if isinstance(n, ast.Name)}
    if "create_waitable_resource" in names:
        return "/v1/tasks/{id}"
    if isinstance(cast_to, ast.Name):
        owner, response = sdk.find(module, cast_to.id)
        for name, _, doc in class_fields(response):
            if name == "id" and "workflow invocation" in doc:
                return "/v1/workflow_invocations/{id}"
    return None


def class_fields(cls):
    """Yield (name, annotation, doc) of each field of a class."""
    for i, node in enumerate(cls.body):
        if not isinstance(node, ast.AnnAssign):
            continue
        doc = ""
        if i + 1 < len(cls.body):
            after = cls.body[i + 1]
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                doc = " ".join(str(after.value.value).split())
        yield node.target.id, node.annotation, doc


# --- shapes ------------------------------------------------------------------


def unwrap(name, annotation):
    """Strip Required[] and Annotated[]: (wire name, required, type)."""
    required = False
    while subscript_name(annotation) in ("Required", "Annotated"):
        if subscript_name(annotation) == "Required":
            required = True
            annotation = annotation.slice
        else:
            items = slice_items(annotation)
            annotation = items[0]
            for extra in items[1:]:
                for keyword in getattr(extra, "keywords", []):
                    if keyword.arg == "alias":
                        name = keyword.value.value
    return name, required, annotation


def documented_media(doc):
    found = re.search(r"base64 data URI.*containing an encoded (image|video|audio)", doc)
    return [found.group(1)] if found else None


def kinds_in_name(name):
    return [kind for kind in KINDS if kind in name.lower()]


def media(kinds):
    return {"type": "media", "accepts": list(kinds) if kinds else list(KINDS)}


def item_kinds(items):
    """The media kinds of a list's `{uri, …}` items, or none."""
    shape = items["like"][0] if "like" in items else items
    uri = shape.get("fields", {}).get("uri")
    return uri["shape"]["accepts"] if uri and uri["shape"]["type"] == "media" else []


class Shaper:
    """Turns annotations of one SDK version into shapes."""

    def __init__(self, sdk):
        self.sdk = sdk

    def shape(self, module, node, name, doc, hint):
        """The shape of a type. `name` is the field's; `hint` are the media
        kinds that its surroundings speak of."""
        hint = kinds_in_name(name) or hint
        label = subscript_name(node)
        if label == "Literal":
            return literal([item.value for item in slice_items(node)])
        if label == "Union":
            return self.union(module, slice_items(node), name, doc, hint)
        if label in ("Iterable", "List", "SequenceNotStr"):
            return self.array(module, slice_items(node)[0], name, doc, hint)
        if label == "Dict":
            return {
                "type": "map",
                "values": self.shape(module, slice_items(node)[1], name, "", hint),
            }
        if isinstance(node, ast.Name):
            return self.named(module, node.id, name, doc, hint)
        raise SystemExit(f"{module.path}: {name}: cannot read {ast.unparse(node)}")

    def named(self, module, type_name, name, doc, hint):
        if type_name == "str":
            kinds = documented_media(doc)
            if kinds is None and (name == "uri" or name.endswith("Uri")):
                kinds = hint
            elif kinds is None:
                return with_text_limits({"type": "string"}, doc)
            return media(kinds)
        if type_name in ("int", "float"):
            kind = "integer" if type_name == "int" else "number"
            return with_range({"type": kind}, doc)
        if type_name == "bool":
            return {"type": "boolean"}
        if type_name == "object":
            return {"type": "any"}
        owner, found = self.sdk.find(module, type_name)
        if isinstance(found, ast.ClassDef):
            return {"type": "object", "fields": self.fields(owner, found, hint)}
        return self.shape(owner, found, name, doc, hint)

    def array(self, module, item, name, doc, hint):
        if isinstance(item, ast.Name) and item.id == "object" and hint:
            # A list of media whose items the SDK leaves untyped: anything goes,
            # but by all its siblings the URI stands in `uri`.
            like = {"type": "object", "fields": {"uri": {"required": True, "shape": media(hint)}}}
            items = {"type": "any", "like": [like]}
        elif isinstance(item, ast.Name) and item.id == "str" and kinds_in_name(name):
            items = media(kinds_in_name(name))
        else:
            items = self.shape(module, item, name, "", hint)
        return with_length({"type": "array", "items": items}, doc)

    def union(self, module, members, name, doc, hint):
        names = [m.id for m in members if isinstance(m, ast.Name)]
        literals = [m for m in members if subscript_name(m) == "Literal"]
        if names == ["str"] and literals and len(literals) == len(members) - 1:
            # A list of literals beside `str` is only a suggestion.
            return {"type": "string"}
        lists = [m for m in members if subscript_name(m) == "Iterable"]
        variants = []
        for member in members:
            variant = self.shape(module, member, name, doc, hint)
            if variant == {"type": "string"} and len(lists) == 1:
                # `promptImage: str | list of {uri, …}`: the string is a URI, too.
                kinds = item_kinds(self.shape(module, lists[0], name, doc, hint)["items"])
                variant = media(kinds) if kinds else variant
            for flat in variant["variants"] if variant["type"] == "one_of" else [variant]:
                if flat not in variants:
                    variants.append(flat)
        return variants[0] if len(variants) == 1 else {"type": "one_of", "variants": variants}

    def fields(self, module, cls, hint):
        found = list(class_fields(cls))
        for name, annotation, _ in found:
            _, _, kind = unwrap(name, annotation)
            if name == "type" and subscript_name(kind) == "Literal":
                said = [k for k in KINDS if k == slice_items(kind)[0].value]
                hint = said or hint
        fields = {}
        for name, annotation, doc in found:
            name, required, kind = unwrap(name, annotation)
            field = {"required": required, "shape": self.shape(module, kind, name, doc, hint)}
            if doc and documented_media(doc) is None and "A HTTPS URL" not in doc:
                field["doc"] = first_sentence(doc)
            fields[name] = field
        return fields


def literal(values):
    def one(kind, members):
        return {"type": kind, "enum": members}

    texts = [v for v in values if isinstance(v, str)]
    numbers = [v for v in values if isinstance(v, int) and not isinstance(v, bool)]
    if len(texts) + len(numbers) != len(values):
        raise SystemExit(f"cannot read the literal {values!r}")
    if texts and numbers:
        return {"type": "one_of", "variants": [one("integer", numbers), one("string", texts)]}
    return one("string", texts) if texts else one("integer", numbers)


def first_sentence(doc):
    for end in re.finditer(r"\.(?= [A-Z`\"@])|\.$", doc):
        if not doc[: end.end()].endswith(("e.g.", "i.e.")):
            return doc[: end.end()]
    return doc


# --- limits said in prose ----------------------------------------------------
#
# Only these turns of phrase are read, each as the SDK's docs use it today:
#
# numbers  "Must be an integer from 2 to 10", "as a whole number from 3 to 10",
#          "between 0.5 and 30 seconds", "An integer between 1 and 5 (inclusive)",
#          "from 0 (faithful) to 100", "from 0 to 100", "(0–1)", "(1-10)",
#          "(4-15)", "a fraction [0.0, 1.0]"
# texts    "A non-empty string", "A non-empty text prompt", "A non-empty
#          instruction"; "up to 1000 characters (measured in UTF-16 code units)",
#          "up to 4,000 characters", "Must be 3-16 characters"
# lists    "Up to three reference audio clips", "An array of up to 14 images",
#          "(up to 9)", "An array of one to three images", "1 to 4 images",
#          "Product images (1-10)", "(3-5 shots)", "up to one reference is"
#
# Lengths without a unit are taken as UTF-16 code units, too: the API measures
# text the way JavaScript does.

NUMBER = r"(\d[\d,]*(?:\.\d+)?)"
RANGES = (
    rf"\bfrom {NUMBER}(?: \([a-z ]+\))? to {NUMBER}",
    rf"\bbetween {NUMBER} and {NUMBER}",
    rf"\({NUMBER}[–-]{NUMBER}\)",
    rf"\[{NUMBER}, {NUMBER}\]",
)
WORDS = {
    w: n
    for n, w in enumerate("zero one two three four five six seven eight nine ten".split())
}
COUNT = rf"(\d+|{'|'.join(WORDS)})"
LENGTHS = (
    rf"\b{COUNT} to {COUNT} (?:\w+ )?images",
    rf"\({COUNT}[–-]{COUNT}(?: \w+)?\)",
    rf"\b[Uu]p to ()(?:{COUNT})\b",
)


def with_range(shape, doc):
    for pattern in RANGES:
        found = re.search(pattern, doc)
        if found:
            low, high = (float(text.replace(",", "")) for text in found.groups())
            if shape["type"] == "integer":
                low, high = int(low), int(high)
            return {**shape, "min": low, "max": high}
    return shape


def with_text_limits(shape, doc):
    shape = dict(shape)
    if re.match(r"An? non-empty\b", doc):
        shape["min_length"] = 1
    found = re.search(r"\bup to ([\d,]+) characters", doc)
    if found:
        shape["max_utf16"] = int(found.group(1).replace(",", ""))
    found = re.search(r"\bMust be (\d+)-(\d+) characters", doc)
    if found:
        shape["min_length"], shape["max_utf16"] = map(int, found.groups())
    return shape


def count(text):
    return WORDS[text] if text in WORDS else int(text)


def with_length(shape, doc):
    for pattern in LENGTHS:
        found = re.search(pattern, doc)
        if found:
            low, high = found.groups()
            shape = {**shape, "max_items": count(high)}
            if low and count(low) > 0:
                shape["min_items"] = count(low)
            return shape
    return shape


# --- endpoints ---------------------------------------------------------------


def variants_of(sdk, module, name):
    """The classes that a params type stands for: one, or a union's members."""
    owner, found = sdk.find(module, name)
    if isinstance(found, ast.ClassDef):
        return [(owner, found)]
    return [v for item in slice_items(found) for v in variants_of(sdk, owner, item.id)]


def single_literal(field):
    enum = field["shape"].get("enum") if field["shape"]["type"] == "string" else None
    return enum[0] if enum and len(enum) == 1 and field["required"] else None


def read_models(sdk, module, params):
    """{model: fields} of one endpoint. Without a model field, the key is ""."""
    shaper = Shaper(sdk)
    variants = [shaper.fields(m, c, []) for m, c in variants_of(sdk, module, params)]
    models = {}
    for fields in variants:
        if "model" in fields:
            for model in fields["model"]["shape"]["enum"]:
                shape = {"type": "string", "enum": [model]}
                if model in models:
                    raise SystemExit(f"{module.path}: the model {model} occurs twice")
                models[model] = {**fields, "model": {"required": True, "shape": shape}}
    if models:
        return models
    return {"": merge_variants(variants)}


def merge_variants(variants):
    """One set of fields for variants that a literal field tells apart; a field
    that belongs to one variant only carries `when`."""
    if len(variants) == 1:
        return variants[0]
    switches = [
        name
        for name in variants[0]
        if all(name in v and single_literal(v[name]) for v in variants)
    ]
    if len(switches) != 1:
        raise SystemExit(f"cannot tell variants apart by {switches}")
    switch = switches[0]
    merged = {}
    for name in sorted({n for v in variants for n in v}):
        owners = [v for v in variants if name in v]
        field = dict(owners[0][name])
        if name == switch:
            values = [single_literal(v[switch]) for v in variants]
            field = {"required": True, "shape": {"type": "string", "enum": values}}
        elif len(owners) < len(variants):
            values = [single_literal(v[switch]) for v in owners]
            field["when"] = {"field": switch, "values": values}
        if name != switch and any(v[name] != owners[0][name] for v in owners):
            raise SystemExit(f"the variants disagree about {name}")
        merged[name] = field
    return merged


def endpoint_name(path):
    name = path.removeprefix("/v1/")
    return name.removesuffix("/{id}")


def has_field(fields, dotted):
    """Whether `input.promptText` and the like exist in these fields."""
    head, _, rest = dotted.partition(".")
    if head not in fields:
        return False
    if not rest:
        return True
    shape = fields[head]["shape"]
    variants = shape["variants"] if shape["type"] == "one_of" else [shape]
    return any(v["type"] == "object" and has_field(v["fields"], rest) for v in variants)


def main_media(candidates, fields):
    """The field for each kind of dropped file: the first candidate there is."""
    chosen = {}
    for kind, names in candidates.items():
        for name in names:
            if has_field(fields, name):
                chosen[kind] = name
                break
    return chosen


def build(newest, older, curated):
    endpoints = {}
    older_models = {
        endpoint_name(path): read_models(older, module, params)
        for path, _, module, params in discover(older)
    }
    for path, poll, module, params in discover(newest):
        name = endpoint_name(path)
        if name not in curated["endpoints"]:
            raise SystemExit(f"{name} is new: describe it in {CURATED.name}")
        known = curated["endpoints"][name]
        found = {m: (fields, None) for m, fields in read_models(newest, module, params).items()}
        for model, successor in curated["dropped"].get(name, {}).items():
            if model in found:
                raise SystemExit(f"{name}: {model} is not dropped, SDK {NEWEST} has it")
            if model not in older_models.get(name, {}):
                raise SystemExit(f"{name}: SDK {OLDER} has no {model}")
            if successor not in found:
                raise SystemExit(f"{name}: {model}'s successor {successor} is unknown")
            dropped = {"last_sdk": OLDER, "successor": successor}
            found[model] = (older_models[name][model], dropped)
        prices = curated["prices"].get(name, {})
        for model in prices:
            if model not in found:
                raise SystemExit(f"{name}: a price for the unknown model {model}")
        usual = {kind: names[0] for kind, names in known["main_media"].items()}
        models = {}
        for model, (fields, dropped) in found.items():
            entry = {"dropped": dropped, "price": prices.get(model), "fields": fields}
            own = main_media(known["main_media"], fields)
            if own != usual:
                entry["main_media"] = own
            models[model] = entry
        if known["prompt"] and not any(has_field(f, known["prompt"]) for f, _ in found.values()):
            raise SystemExit(f"{name}: no model has the prompt field {known['prompt']}")
        endpoints[name] = {
            "path": path,
            "poll": poll,
            "output": known["output"],
            "prompt": known["prompt"],
            "main_media": usual,
            "models": models,
        }
    for name in curated["endpoints"]:
        if name not in endpoints:
            raise SystemExit(f"{CURATED.name} describes {name}, which SDK {NEWEST} has not")
    return {
        "schema": SCHEMA,
        "sources": [{"package": PACKAGE, "version": v} for v in (NEWEST, OLDER)],
        "endpoints": endpoints,
    }


# --- output ------------------------------------------------------------------

FIRST_KEYS = ("schema", "sources", "type", "path", "poll", "required", "doc")


def render(value, indent=0):
    """JSON with one-space indent, stable key order, and small values on one line."""
    flat = json.dumps(ordered(value), ensure_ascii=False)
    if len(flat) + indent <= 110 or not isinstance(value, (dict, list)):
        return flat
    pad = " " * (indent + 1)
    if isinstance(value, list):
        inner = [pad + render(item, indent + 1) for item in value]
        if all(not isinstance(item, (dict, list)) for item in value):
            return flat
        return "[\n" + ",\n".join(inner) + "\n" + " " * indent + "]"
    inner = [
        f"{pad}{json.dumps(key, ensure_ascii=False)}: {render(item, indent + 1)}"
        for key, item in ordered_items(value)
    ]
    return "{\n" + ",\n".join(inner) + "\n" + " " * indent + "}"


def ordered_items(mapping):
    def rank(item):
        key, value = item
        # A field may be called like one of our own keys (`type`); it is a mapping.
        own = key in FIRST_KEYS and not isinstance(value, dict)
        return (FIRST_KEYS.index(key) if own else len(FIRST_KEYS), key)

    return sorted(mapping.items(), key=rank)


def ordered(value):
    if isinstance(value, dict):
        return {key: ordered(item) for key, item in ordered_items(value)}
    if isinstance(value, list):
        return [ordered(item) for item in value]
    return value


def unpacked(version, sdk_dir, scratch):
    if sdk_dir is not None:
        root = sdk_dir / version / PACKAGE
    else:
        where = scratch / version
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--only-binary", ":all:"]
        command += ["--dest", str(where), f"{PACKAGE}=={version}"]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(where.glob("*.whl"))) as wheel:
            wheel.extractall(where)
        root = where / PACKAGE
    if not (root / "resources").is_dir():
        raise SystemExit(f"{root} is not an unpacked {PACKAGE} {version}")
    return Sdk(root)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing, exit 1 when they differ")
    parser.add_argument("--sdk-dir", type=Path, help="folder with VERSION/runwayml, instead of pip download")
    arguments = parser.parse_args()
    curated = json.loads(CURATED.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        newest = unpacked(NEWEST, arguments.sdk_dir, Path(scratch))
        older = unpacked(OLDER, arguments.sdk_dir, Path(scratch))
        made = render(build(newest, older, curated)) + "\n"
    if not arguments.check:
        TARGET.write_text(made, encoding="utf-8")
        print(f"wrote {TARGET.name}: {len(made)} bytes")
        return 0
    present = TARGET.read_text(encoding="utf-8") if TARGET.is_file() else ""
    if present == made:
        return 0
    differences = list(
        difflib.unified_diff(
            present.splitlines(), made.splitlines(), "checked in", "generated", n=1, lineterm=""
        )
    )
    print("\n".join(line[:160] for line in differences[:60]))
    print(f"{TARGET.name} is not what the SDK says ({len(differences)} lines of difference): run {Path(__file__).name}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
