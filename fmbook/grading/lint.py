"""Reads an exercise for what would go wrong once its checks run apart from the student's code.

Nothing is executed; a syntax tree knows names, not values, so what it finds is to be looked at.
Left out: whether a check is right, which the banks of answers prove.
"""

import ast
import builtins
import importlib
import symtable
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

from fmbook.grading.exercise import Cell, Exercise, parsed

__all__ = ["in_process", "lint"]

BUILTINS = {name for name in dir(builtins) if not name.startswith("_")}
KNOWN = {*dir(builtins), "__name__", "__doc__", "get_ipython", "display"}
ASKING = {"isinstance", "issubclass", "type", "len", "iter", "next", "vars", "dir", "getattr"} | {
    *("hasattr", "list", "tuple", "set", "dict", "sorted", "sum", "min", "max", "str", "repr"),
    *("float", "int", "bool", "abs", "hash", "id", "enumerate", "zip", "map", "expect"),
}
LAZY = {"range", "zip", "map", "filter", "enumerate", "iter", "reversed"}


def lint(exercise: Exercise) -> list[str]:
    """What to look at, a sentence each, with the cell and the line: nothing if all is well."""
    found = [*_policy(exercise)]
    for number, cell in enumerate(exercise.cells):
        if cell.kind == "check" and cell.runs:
            said = [*_unknown(exercise, number), *_overwritten(exercise, cell)]
            if not _inside(cell):
                said += Crossing.of(exercise, cell)
            found += [f"{cell.grade_id}{where}: {what}" for where, what in said]
    return found


def in_process(exercise: Exercise) -> list[str]:
    """The checks that run in the student's own process, where assurance is lower."""
    return [c.grade_id for c in exercise.cells if c.kind == "check" and _inside(c)]


def _inside(cell: Cell) -> bool:
    return "in-process" in cell.metadata.get("tags", [])


Said = tuple[str, str]  # ", line 3", and what is to be said of it


@dataclass(frozen=True)
class Names:
    """The global names of a cell: those bound at its top level, those used anywhere in it."""

    bound: frozenset[str]
    used: frozenset[str]

    @classmethod
    @cache
    def of(cls, source: str) -> "Names":
        table = symtable.symtable(ast.unparse(_tree(source)), "<cell>", "exec")
        symbols = table.get_symbols()
        bound = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
        inner = {s.get_name() for t in _inner(table) for s in t.get_symbols() if _reads(s)}
        used = inner | {s.get_name() for s in symbols if s.is_referenced()}
        return cls(frozenset(bound), frozenset(used))


@cache
def _tree(source: str) -> ast.Module:
    return parsed(source)


def _inner(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _inner(child)


def _reads(symbol: symtable.Symbol) -> bool:
    return symbol.is_global() and symbol.is_referenced()


def _policy(exercise: Exercise) -> Iterator[str]:
    """What is wrong with the exercise's list of forbidden calls."""
    if exercise.forbidden_scores not in ("zero", "flag"):
        yield f"forbidden_scores is {exercise.forbidden_scores!r}; it must be 'zero' or 'flag'"
    tasks = {c.grade_id for c in exercise.cells if c.kind == "solution"}
    for task, names in exercise.forbidden.items():
        if task not in tasks:
            yield f"forbidden: there is no task {task!r}; there are {', '.join(sorted(tasks))}"
        for name in names:
            if not _resolves(name):
                yield f"forbidden for {task}: {name} does not exist, so nothing is forbidden"


def _resolves(name: str) -> bool:
    module, attributes = name, list[str]()
    while module:
        with suppress(ImportError):
            value: object = importlib.import_module(module)
            return all((value := getattr(value, a, None)) is not None for a in attributes)
        module, _, last = module.rpartition(".")
        attributes.insert(0, last)
    return False


def _unknown(exercise: Exercise, number: int) -> Iterator[Said]:
    """Names that a check uses and that are not there when it runs alone, behind honest answers."""
    cell = exercise.cells[number]
    names, tree = Names.of(cell.source), _tree(cell.source)
    before = _bound_by(exercise.cells[:number], "setup", "shared", "solution")
    for name in sorted(names.used - names.bound - before - KNOWN):
        yield _line_of(tree, name), f"{name} {_where(exercise, number, name)}"
    promised = KNOWN | names.bound | _bound_by(exercise.cells[:number], "setup", "shared")
    promised |= _bound_by(exercise.cells[:number], "solution", released=True)
    for name in sorted(names.used & before - promised):
        why = f"{name} is defined in the model solution only; an answer need not have it"
        yield _line_of(tree, name), why


def _bound_by(cells: Iterable[Cell], *kinds: str, released: bool = False) -> set[str]:
    found: set[str] = set()
    for cell in cells:
        if cell.kind in kinds and cell.cell_type == "code":
            found |= Names.of(cell.released if released else cell.source).bound
    return found


def _where(exercise: Exercise, number: int, name: str) -> str:
    """Why a check cannot have a name: who else defines it."""
    for kind, why in (
        ("setup shared solution", "is defined behind this check: move its cell up"),
        ("free", "is defined in a free cell, which students may change: move it to the set-up"),
        ("check", "is defined in another check only: define it in this one"),
    ):
        if name in _bound_by(exercise.cells, *kind.split()):
            return why
    return "is defined nowhere"


def _overwritten(exercise: Exercise, cell: Cell) -> Iterator[Said]:
    """Names that a check binds and on which answers or adapters rely.

    In one namespace, as in a student's notebook and in nbgrader, the check would change what they
    do from then on.
    """
    tree = _tree(cell.source)
    needed = exercise.answers | _bound_by(exercise.cells, "setup", "shared") | BUILTINS
    for name in sorted(Names.of(cell.source).bound & needed):
        why = f"{name} is bound here, but answers or the set-up use that name: choose another"
        yield _line_of(tree, name, ast.Store), why


def _line_of(tree: ast.AST, name: str, context: type = ast.Load) -> str:
    for node in ast.walk(tree):
        is_name = isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, context)
        defines = isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
        if is_name or (defines and context is ast.Store):
            return f", line {node.lineno}"  # type: ignore[attr-defined]
    return ""


@dataclass
class Crossing(ast.NodeVisitor):
    """What a check does with the student's objects, of which it holds only a handle."""

    answers: frozenset[str]
    classes: set[str]  # of the student's
    functions: set[str]  # of this check
    objects: set[str] = field(default_factory=set)  # names of instances
    found: list[Said] = field(default_factory=list)

    @classmethod
    def of(cls, exercise: Exercise, cell: Cell) -> list[Said]:
        tree = _tree(cell.source)
        classes = {
            node.name
            for own in exercise.cells
            if own.kind in ("setup", "shared", "solution") and own.cell_type == "code"
            for node in _tree(own.source).body
            if isinstance(node, ast.ClassDef) and node.name in exercise.answers
        }
        own = (ast.FunctionDef, ast.ClassDef)
        functions = {n.name for n in ast.walk(tree) if isinstance(n, own)}
        visitor = cls(exercise.answers, classes, functions - exercise.answers)
        visitor.visit(tree)
        visitor.end(tree)
        return list(dict.fromkeys(visitor.found))

    def say(self, node: ast.AST, what: str) -> None:
        self.found.append((f", line {node.lineno}", what))  # type: ignore[attr-defined]

    def handle(self, node: ast.AST | None) -> str:
        """The student's object that an expression is, or ''."""
        if isinstance(node, ast.Name) and node.id in self.answers | self.objects:
            return node.id
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return f"{node.func.id}(...)" if node.func.id in self.classes else ""
        return ""

    def end(self, tree: ast.Module) -> None:
        """A check must not end in a value of the student's: nbgrader reads a number as credit."""
        last = tree.body[-1] if tree.body else None
        if not isinstance(last, ast.Expr):
            return
        checks = isinstance(last.value, ast.Call) and ast.unparse(last.value.func) in (
            *("expect", "expect_raises"),
        )
        used = {n.id for n in ast.walk(last) if isinstance(n, ast.Name)} & self.answers
        if used and not checks:
            self.say(last, f"the cell ends in a value of {', '.join(sorted(used))}: use expect")

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        if self.handle(node.value) and isinstance(node.targets[0], ast.Name):
            if isinstance(node.value, ast.Name) and node.value.id not in self.objects:
                return
            self.objects.add(node.targets[0].id)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        arguments = [*node.args, *(k.value for k in node.keywords)]
        target = self.handle(node.func)
        if isinstance(node.func, ast.Attribute):
            target = self.handle(node.func.value)
        if name == "expect_raises" and len(node.args) > 1:
            target, arguments = self.handle(node.args[1]), node.args[2:]
        if target:
            for argument in arguments:
                self.passed(argument, target)
        if name in ASKING:
            for one in map(self.handle, node.args):
                if one:
                    self.say(node, f"{name}({one}) asks a handle, not the object: use an adapter")
        self.generic_visit(node)

    def passed(self, node: ast.AST, target: str) -> None:
        """Complain of an argument that cannot cross to the student's process."""
        if isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict | ast.Starred):
            for inner in ast.iter_child_nodes(node):
                self.passed(inner, target)
        lazy = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        lazy = lazy and node.func.id in LAZY  # type: ignore[attr-defined]
        if isinstance(node, ast.Name) and node.id in self.functions:
            kind = f"{node.id}, a function of this check,"
        elif isinstance(node, ast.Lambda):
            kind = "a lambda"
        elif isinstance(node, ast.GeneratorExp) or lazy:
            kind = "a generator"
        else:
            return
        self.say(node, f"{kind} is passed to {target} and cannot cross: use the set-up, or a list")

    def operator(self, node: ast.AST, *operands: ast.AST | None) -> None:
        for one in map(self.handle, operands):
            if one:
                self.say(node, f"an operator on {one}, which is a handle here: use an adapter")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.operator(node, node.left, node.right)

    def visit_Compare(self, node: ast.Compare) -> None:
        same = all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops)
        self.operator(node, *(() if same else (node.left, *node.comparators)))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        self.operator(node, node.operand)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.operator(node, node.value)

    def visit_For(self, node: ast.For) -> None:
        self.operator(node, node.iter)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        if one := self.handle(node.iter):
            self.say(node.iter, f"an operator on {one}, which is a handle here: use an adapter")
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        self.operator(node, node.value)

    def visit_With(self, node: ast.With) -> None:
        self.operator(node, *(item.context_expr for item in node.items))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        one = self.handle(node.value)
        if one and node.attr.startswith("_"):
            self.say(node, f"{one}.{node.attr} is private to the student's process")
        elif one and not isinstance(node.ctx, ast.Load):
            self.say(node, f"{one}.{node.attr} is changed, which a check cannot do: use an adapter")
        self.generic_visit(node)
