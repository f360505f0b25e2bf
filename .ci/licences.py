#!/usr/bin/env python3
"""Checks the licences and the sources of all dependencies against deny.toml.

usage: licences.py [MANIFEST…]

Looks at the program and its fuzzers unless told otherwise, at everything in their Cargo.lock, whatever the platform and
whether it is only for tests, and needs nothing but Python 3.11 and cargo. Exit code 0: all are allowed; 1: some are not,
each with a line that says why; 2: wrong usage.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

# How Cargo.lock and `cargo metadata` name crates.io. It is also what cargo-deny allows where deny.toml names none.
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"

TOKEN = re.compile(r"\s*(\(|\)|[A-Za-z0-9.:+-]+)")


def tokens(expression: str) -> list[str]:
    """Splits an SPDX expression; the old `/` between licences means OR.

    >>> tokens("(MIT OR Apache-2.0) AND Unicode-3.0")
    ['(', 'MIT', 'OR', 'Apache-2.0', ')', 'AND', 'Unicode-3.0']
    >>> tokens("MIT/Apache-2.0")
    ['MIT', 'OR', 'Apache-2.0']
    >>> tokens("MIT, Apache-2.0")
    Traceback (most recent call last):
    ValueError: ", Apache-2.0" is no part of an SPDX expression
    """
    expression = expression.replace("/", " OR ").strip()
    found, at = [], 0
    while at < len(expression):
        match = TOKEN.match(expression, at)
        if match is None:
            raise ValueError(f'"{expression[at:]}" is no part of an SPDX expression')
        found.append(match.group(1))
        at = match.end()
    return found


def allowed(expression: str, allow: set[str]) -> bool:
    """Whether the allowed licences satisfy an SPDX expression. WITH binds strongest, then AND, then OR.

    >>> allowed("MIT OR GPL-3.0-only", {"MIT"})
    True
    >>> allowed("MIT AND GPL-3.0-only", {"MIT"})
    False
    >>> allowed("GPL-3.0-only OR MIT AND ISC", {"MIT", "ISC"})
    True
    >>> allowed("(GPL-3.0-only OR MIT) AND ISC", {"MIT"})
    False
    >>> allowed("Apache-2.0 WITH LLVM-exception", {"Apache-2.0"})
    False
    >>> allowed("Apache-2.0 WITH LLVM-exception", {"Apache-2.0 WITH LLVM-exception"})
    True
    >>> allowed("MIT OR", {"MIT"})
    Traceback (most recent call last):
    ValueError: "MIT OR" ends too early
    >>> allowed("MIT Apache-2.0", {"MIT"})
    Traceback (most recent call last):
    ValueError: "MIT Apache-2.0" goes on where it should end: "Apache-2.0"
    """
    rest = tokens(expression)

    def take() -> str:
        if not rest:
            raise ValueError(f'"{expression}" ends too early')
        return rest.pop(0)

    def one() -> bool:
        word = take()
        if word == "(":
            inner = either()
            if take() != ")":
                raise ValueError(f'"{expression}" lacks a ")"')
            return inner
        if word in (")", "AND", "OR", "WITH"):
            raise ValueError(f'"{expression}" has "{word}" where a licence should be')
        if rest[:1] == ["WITH"]:
            take()
            word = f"{word} WITH {take()}"
        return word in allow

    def both() -> bool:
        result = one()
        while rest[:1] == ["AND"]:
            take()
            result = one() and result
        return result

    def either() -> bool:
        result = both()
        while rest[:1] == ["OR"]:
            take()
            result = both() or result
        return result

    result = either()
    if rest:
        raise ValueError(f'"{expression}" goes on where it should end: "{rest[0]}"')
    return result


def problem(package: dict, allow: set[str], registries: set[str]) -> str | None:
    """What is wrong with one package of `cargo metadata`, if anything.

    >>> good = {"license": "MIT", "license_file": None, "source": "registry+https://example.org/index"}
    >>> problem(good, {"MIT"}, {"registry+https://example.org/index"})
    >>> problem(good | {"license": None}, {"MIT"}, {good["source"]})
    'names no licence'
    >>> problem(good | {"license": "SSPL-1.0"}, {"MIT"}, {good["source"]})
    'its licence is not allowed: SSPL-1.0'
    >>> problem(good | {"source": "git+https://example.org/x"}, {"MIT"}, {good["source"]})
    'its source is not allowed: git+https://example.org/x'
    """
    # A package without a source is part of this project.
    if package["source"] is not None and package["source"] not in registries:
        return f"its source is not allowed: {package['source']}"
    expression = package["license"]
    if expression is None:
        return "names no licence"
    try:
        if not allowed(expression, allow):
            return f"its licence is not allowed: {expression}"
    except ValueError as error:
        return f"its licence cannot be read: {error}"
    return None


def main(arguments: list[str]) -> int:
    """Checks the projects of the manifests, by default those that this script belongs to."""
    if any(argument.startswith("-") for argument in arguments):
        print(__doc__, file=sys.stderr)
        return 2
    root = Path(__file__).resolve().parent.parent
    manifests = arguments or [root / "Cargo.toml", root / "fuzz" / "Cargo.toml"]
    rules = tomllib.loads((root / "deny.toml").read_text(encoding="utf-8"))
    allow = set(rules["licenses"]["allow"])
    exceptions = {one["crate"]: set(one["allow"]) for one in rules["licenses"].get("exceptions", [])}
    registries = {f"registry+{url}" for url in rules["sources"].get("allow-registry", [])} or {CRATES_IO}

    packages = {}
    for manifest in manifests:
        metadata = subprocess.run(
            ["cargo", "metadata", "--locked", "--all-features", "--format-version", "1", "--manifest-path", manifest],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if metadata.returncode != 0:
            print(f"`cargo metadata --locked` failed; is the Cargo.lock of {manifest} up to date?", file=sys.stderr)
            return 1
        packages |= {package["id"]: package for package in json.loads(metadata.stdout)["packages"]}
    packages = list(packages.values())
    wrong = 0
    for package in packages:
        reason = problem(package, allow | exceptions.get(package["name"], set()), registries)
        if reason is not None:
            wrong += 1
            print(f"{package['name']} {package['version']}: {reason}")

    # A licence that nothing needs any more leaves the list, so that it cannot come back unseen.
    expressions = [package["license"] for package in packages if package["license"] is not None]
    for licence in sorted(allow):
        if wrong == 0 and all(allowed(expression, allow - {licence}) for expression in expressions):
            wrong += 1
            print(f"deny.toml allows {licence}, which no dependency needs: take it out")

    print(f"{len(packages)} packages looked at, {wrong} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
