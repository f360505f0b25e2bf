"""Counts the lines of code in src/: no blank lines, no comments, no tests.

usage: python3 -B .ci/count.py [COMMIT…]

Without a commit it counts the working tree; with several it prints a line for each, so that an old tree and a new one can be compared.

>>> count("a.rs", "//! Docs\\n\\nfn a() {} // why\\n/* x\\ny */\\n#[cfg(test)]\\nmod tests {\\n    fn b() {}\\n}\\nfn c() {}\\n")
2
>>> count("a.rs", "#[cfg(test)]\\nmod tests;\\n#[cfg(any(test, fuzzing))]\\nfn f() {\\n}\\nfn c() {}\\n")
1
>>> count("x/tests/a.rs", "fn a() {}\\n")
0
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMENT = {".rs": r"^\s*//", ".js": r"^\s*//", ".sql": r"^\s*--", ".css": r"^$", ".html": r"^$"}
TEST_FILES = re.compile(r"(^|/)(tests?|fuzzing|samples)(/|\.rs$)|_tests?\.rs$")
TEST_ITEM = re.compile(r"^\s*#\[cfg\((test|fuzzing|any\(test, fuzzing\))\)\]")


def count(path, text):
    """The lines of code of one file."""
    ending = Path(path).suffix
    if ending not in COMMENT or TEST_FILES.search(path):
        return 0
    text = re.sub(r"(?ms)^\s*/\*.*?\*/\s*?$|^\s*<!--.*?-->\s*?$", "", text)
    total, skip_indent = 0, None
    for line in text.splitlines():
        if not line.strip() or re.match(COMMENT[ending], line):
            continue
        indent = len(line) - len(line.lstrip())
        if skip_indent is not None:
            # An item ends with a closing bracket, or a semicolon on its own level.
            if indent == skip_indent and not line.lstrip().startswith("#[") and re.search(r"[};]\s*$", line):
                skip_indent = None
            continue
        if ending == ".rs" and TEST_ITEM.match(line):
            skip_indent = indent
            continue
        total += 1
    return total


def working_tree():
    """The files below src/ as they are."""
    for path in sorted((ROOT / "src").rglob("*")):
        if path.is_file():
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8", errors="replace")


def committed(commit):
    """The files below src/ of a commit."""
    git = ["git", "-C", str(ROOT)]
    listing = subprocess.run([*git, "ls-tree", "-r", "--name-only", commit, "src"], check=True, capture_output=True, text=True)
    for path in listing.stdout.splitlines():
        if Path(path).suffix in COMMENT:
            shown = subprocess.run([*git, "show", f"{commit}:{path}"], check=True, capture_output=True)
            yield path, shown.stdout.decode("utf-8", "replace")


def main():
    """Prints the sum of each tree."""
    for name in sys.argv[1:] or [None]:
        files = committed(name) if name else working_tree()
        lines = [count(path, text) for path, text in files]
        print(f"{name or 'working tree'}: {sum(lines)} lines of code in {sum(1 for n in lines if n)} files")


if __name__ == "__main__":
    main()
