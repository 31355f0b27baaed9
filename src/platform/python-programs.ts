/**
 * The Python side of the sandbox (python-sandbox.ts), as text: two programs that run in two interpreters which share nothing.
 *
 * `candidateRunner` holds the tested program and answers calls of its function. `judge` holds a problem's prompt and tests,
 * and a stand-in for the function: each call of it is a line to the other interpreter, and comes back as plain data. So the
 * tested program never sees its tests, their frames, builtins or verdict: whatever it does in its own interpreter, all it can
 * say is what a call returned or raised. Lines of JSON go over file descriptors 0 and 1; the host passes them on.
 */

/**
 * Values as JSON: None, booleans, strings, floats and short integers as they are, the rest as lists with a tag before.
 * Subclasses become their base: a value must not bring its own `__eq__` along. What is no data becomes `Opaque`.
 */
const codec = String.raw`
import sys, os, io, json
_in = io.BufferedReader(io.FileIO(0, closefd=False))
_loads, _dumps, _write = json.loads, json.dumps, os.write
def receive():
    line = _in.readline()
    if not line: os._exit(0)
    return line[:1], line[1:]
def send(message, tag=""):
    data = (tag + _dumps(message) + "\n").encode()
    while data: data = data[_write(1, data):]

_views = (type({}.keys()), type({}.items()))
def enc(v):
    if v is None or v is True or v is False: return v
    if isinstance(v, str): return str.__str__(v)
    if isinstance(v, int):
        n = int.__add__(v, 0)
        return n if -2**53 < n < 2**53 else ["n", hex(n)]
    if isinstance(v, float): return float.__float__(v)
    if isinstance(v, list): return ["l", *map(enc, list.__iter__(v))]
    if isinstance(v, tuple): return ["t", *map(enc, tuple.__iter__(v))]
    if isinstance(v, set): return ["s", *map(enc, set.__iter__(v))]
    if isinstance(v, frozenset): return ["f", *map(enc, frozenset.__iter__(v))]
    if isinstance(v, dict): return ["d", *([enc(k), enc(x)] for k, x in dict.items(v))]
    if isinstance(v, complex): return ["c", v.real, v.imag]
    if isinstance(v, (bytes, bytearray)): return ["b" if isinstance(v, bytes) else "B", bytes(v).hex()]
    if isinstance(v, _views): return ["s", *map(enc, v)]
    kind = type(v).__name__
    if kind == "Fraction": return ["F", hex(v.numerator), hex(v.denominator)]
    if kind == "Decimal": return ["D", str(v)]
    items = None
    if hasattr(type(v), "__iter__"):
        from itertools import islice
        items = [enc(x) for x in islice(iter(v), 100000)]
    return ["o", str(kind)[:100], bool(v), items]
`;

export const candidateRunner = `${codec}
def main():
    job = _loads(receive()[1])
    sys.stdout = sys.stderr
    sys.stdin = io.StringIO()
    try:
        space = {}
        exec(compile(job["program"], "<program>", "exec"), space)
        function = space[job["entry"]]
    except BaseException as error:
        return send({"failed": said(error)})
    send({"ready": True})
    while True:
        args, kwargs = _loads(receive()[1])
        try:
            value = function(*map(dec, args), **{k: dec(x) for k, x in kwargs.items()})
            answer = {"value": enc(value)}
        except BaseException as error:
            answer = {"raised": [type(error).__name__, str(error)[:200], isinstance(error, Exception)]}
        send(answer)
`;

export const judgeRunner = String.raw`${codec}
import builtins
class Opaque:
    """A value that is no data: only its truth and, where it has some, its items crossed."""
    def __init__(self, kind, truth, items): self.kind, self.truth, self.items = kind, truth, items
    def __bool__(self): return self.truth
    def __repr__(self): return "<%s>" % self.kind
    def __iter__(self):
        if self.items is None: raise TypeError("'%s' object is not iterable" % self.kind)
        return iter(self.items)
class Ended(BaseException): pass
class CandidateError(Exception): pass
def called(args, kwargs):
    send([list(map(enc, args)), {k: enc(x) for k, x in kwargs.items()}], "C")
    tag, line = receive()
    if tag != b"A": raise Ended(_loads(line))
    try:
        answer = _loads(line)
        if "value" in answer: return dec(answer["value"])
        kind, message, catchable = answer["raised"]
        kind, message = str(kind)[:100], str(message)[:200]
    except Exception as error:
        raise Ended("its answer is no data (%s)" % type(error).__name__) from None
    if catchable is not True: raise Ended(kind + (": " + message if message else ""))
    known = getattr(builtins, kind, None)
    if not (isinstance(known, type) and issubclass(known, Exception)):
        known, message = CandidateError, kind + (": " + message if message else "")
    try: raise known(message)
    except known: raise
    except TypeError: raise CandidateError(kind + ": " + message) from None

def prompt_space(prompt):
    # A prompt ends in a function without a body, or with its docstring alone.
    for text in (prompt, prompt + "    pass\n"):
        space = {}
        try:
            exec(compile(text, "<prompt>", "exec"), space)
            return space
        except SyntaxError:
            pass
    return {}

def judged(job):
    candidate = lambda *args, **kwargs: called(args, kwargs)
    try:
        space = prompt_space(job["prompt"])
        space[job["entry"]] = candidate
        exec(compile(job["test"], "<test>", "exec"), space)
        space["check"](candidate)
        return {"passed": True}
    except Ended as error:
        return {"failed": str(error)}
    except CandidateError as error:
        return {"failed": str(error)}
    except BaseException as error:
        return {"failed": said(error)}

def main():
    sys.stdout = sys.stderr
    sys.stdin = io.StringIO()
    send({"python": sys.version.split()[0]}, "V")
    while True:
        send(judged(_loads(receive()[1])), "V")
`;

/** Both halves of the codec and the words for an error; each program ends by calling its `main`. */
const decoder = `
def said(error):
    text = str(error)[:200]
    return type(error).__name__ + (": " + text if text else "")
def dec(v):
    if type(v) is not list: return v
    tag, rest = v[0], v[1:]
    if tag == "l": return list(map(dec, rest))
    if tag == "t": return tuple(map(dec, rest))
    if tag == "s": return set(map(dec, rest))
    if tag == "f": return frozenset(map(dec, rest))
    if tag == "d": return {dec(k): dec(x) for k, x in rest}
    if tag == "n": return int(rest[0], 16)
    if tag == "c": return complex(*rest)
    if tag == "b": return bytes.fromhex(rest[0])
    if tag == "B": return bytearray.fromhex(rest[0])
    if tag == "F":
        from fractions import Fraction
        return Fraction(int(rest[0], 16), int(rest[1], 16))
    if tag == "D":
        from decimal import Decimal
        return Decimal(rest[0])
    kind, truth, items = rest
    return Opaque(str(kind), truth is True, None if items is None else list(map(dec, items)))
main()
`;

export const pythonPrograms = { candidate: candidateRunner + decoder, judge: judgeRunner + decoder };
