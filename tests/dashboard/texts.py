"""Finds what the dashboard says: texts in its templates, and constants that its code hands on."""

import ast
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import jinja2
from jinja2 import nodes

PACKAGE = Path(str(resources.files("batchyard.dashboard")))


def in_templates() -> set[str]:
    """Return every text that a template hands to `_`, or that `voice.count` chooses from."""
    environment = jinja2.Environment(autoescape=True)
    found: set[str] = set()
    for path in (PACKAGE / "templates").glob("*.html"):
        tree = environment.parse(path.read_text(encoding="utf-8"))
        for call in tree.find_all(nodes.Call):
            if _is_text_call(call.node):
                found |= {one.value for arg in call.args for one in _texts(arg)}
    return found


def in_code() -> set[str]:
    """Return every string in the code of the dashboard, docstrings and all."""
    return {
        node.value
        for path in PACKAGE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _is_text_call(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Name):
        return node.name == "_"
    return isinstance(node, nodes.Getattr) and node.attr in {"count", "say"}


def _texts(node: nodes.Expr) -> Iterator[nodes.Const]:
    """Yield the constants an argument can be."""
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        yield node
    elif isinstance(node, nodes.CondExpr):
        yield from _texts(node.expr1)
        if node.expr2 is not None:
            yield from _texts(node.expr2)


def in_operations() -> set[str]:
    """Return every string in the operations: their errors and reasons are shown as they are."""
    return {
        node.value
        for path in (PACKAGE.parent / "operations").glob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
