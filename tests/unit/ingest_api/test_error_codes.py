"""docs/errors.md and the code name the same errors."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import ingest_api

SOURCE = Path(ingest_api.__file__).parent
PAGE = Path(__file__).parents[3] / "docs" / "errors.md"
RAISES = {"ApiError": 1, "BadEvent": 0, "_unauthorized": 0, "_forbidden": 0, "_conflict": 0}
CODE = re.compile(r"[a-z]+(_[a-z]+)*")


def codes_in_code() -> set[str]:
    return {code for file in SOURCE.rglob("*.py") for code in _codes(ast.parse(file.read_text()))}


def _codes(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            position = RAISES.get(name)
            if position is not None and len(node.args) > position:
                yield from _text(node.args[position])
            if name == "unavailable":
                yield from (
                    c for keyword in node.keywords if keyword.arg == "code" for c in _text(keyword.value)
                )
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
            for value in node.value.values:
                first = value.elts[0] if isinstance(value, ast.Tuple) and value.elts else value
                yield from (c for c in _text(first) if _is_table_of_codes(node))
        if isinstance(node, ast.FunctionDef) and node.name == "unavailable":
            yield from (c for default in node.args.kw_defaults if default for c in _text(default))


def _is_table_of_codes(node: ast.Assign | ast.AnnAssign) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(getattr(target, "id", "") in {"_OF_STATUS", "_CODES"} for target in targets)


def _text(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def codes_on_page() -> set[str]:
    return set(re.findall(r"^\| `([a-z_]+)` \|", PAGE.read_text(), re.MULTILINE))


def test_every_code_in_the_code_is_on_the_page():
    assert codes_in_code() - codes_on_page() == set()


def test_every_code_on_the_page_is_in_the_code():
    assert codes_on_page() - codes_in_code() == set()


def test_codes_are_words_with_underscores():
    assert all(CODE.fullmatch(code) for code in codes_in_code())
