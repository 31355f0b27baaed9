// Oracles: canaries outside (a file, its folder, sockets, a process), which must see nothing; CPython's own words for what it
// refuses; programs whose verdict is known. The corpus of attacks is test/fixtures/attacks/. All of it skips, and says so, where
// the package with the interpreter is not installed.
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Attack, attacks, programOfAttack } from "../../test/fixtures/attacks/programs.ts";
import { footings, readPythonModule } from "./node/python-process.ts";
import { openPythonSandbox, type PythonSandbox } from "./python-sandbox.ts";

let why = "";
try {
  readPythonModule();
} catch (error) {
  why = (error as Error).message;
}

const limits = { cpuSeconds: 3, wallMs: 300_000, memoryBytes: 2 ** 27, outputBytes: 2 ** 16 };
const prompt = "def double(x):\n";
const check = 'def check(candidate):\n    assert candidate(3) == 6, "a wrong answer"\n';
const tested = (program: string, test = check) => ({ program, entryPoint: "double", prompt, test });
const right = tested("def double(x):\n    return 2 * x\n");

test("the corpus has at least a hundred attacks, each with a name of its own", () => {
  expect(attacks.length).toBeGreaterThanOrEqual(100);
  expect(new Set(attacks.map(({ name }) => name)).size).toBe(attacks.length);
});

describe.skipIf(why !== "")(`a program's verdict${why && ` (skipped: ${why})`}`, () => {
  let sandbox: PythonSandbox;
  beforeAll(async () => {
    sandbox = await openPythonSandbox(limits);
  });
  afterAll(() => sandbox.close());
  const judge = (program: string, test?: string) => sandbox.judge(tested(program, test));

  test.for([
    ["def double(x):\n    return 2 * x\n", true, ""],
    ["def double(x):\n    return x\n", false, "AssertionError: a wrong answer"],
    ["def double(x):\n    raise KeyError(x)\n", false, "KeyError: "],
    ["class Odd(Exception): pass\ndef double(x):\n    raise Odd('so')\n", false, "Odd: so"],
    ["def f(:", false, "SyntaxError"],
    ["def other(x): pass\n", false, "KeyError: 'double'"],
    ["import nothing_such", false, "ModuleNotFoundError"],
    ["def double(x):\n    input()\n", false, "EOFError"],
    ["def double(x):\n    print('x')\n    return 2 * x\n", true, ""],
    ["def double(x):\n    return [0] * 10**9\n", false, "MemoryError"],
    [
      "import os\nassert set(os.environ) <= {'PYTHONHASHSEED', 'PYTHONDONTWRITEBYTECODE'}\ndouble = lambda x: 6",
      true,
      "",
    ],
  ] as const)("%j", async ([program, passed, reason]) => {
    const verdict = await judge(program);
    expect(verdict.reason).toContain(reason);
    expect(verdict.passed).toBe(passed);
  });

  test("values of every kind come back as they are, and objects only with their truth and items", async () => {
    const values = [
      ..."None True False 0 -1 3.0 -0.0 1e300 float('inf') 2**53 -2**200 10**4000 'é\\ud800\\n\"' b'\\x00a' 2+3j".split(
        " ",
      ),
      ..."[] [1,[2.0]] (1,) () {} {1:'a','b':(2,)} set() {1,2} frozenset({3}) bytearray(b'x')".split(" "),
      ..."Fraction(1,3) Decimal('1.10') [[],[[]]]".split(" "),
    ];
    const names = "from fractions import Fraction\nfrom decimal import Decimal\n";
    const program = `${names}values = [${values.join(", ")}]\ndef double(x): return values[x] if type(x) is int else repr(x)\n`;
    const test = `${names}values = [${values.join(", ")}]
def check(candidate):
    for i, value in enumerate(values):
        got = candidate(i)
        assert type(got) is type(value) and repr(got) == repr(value), (i, got)
        assert candidate((value,)) == repr((value,)), (i, "as an argument")
`;
    expect(await judge(program, test)).toEqual({ passed: true, reason: "" });
    const objects =
      "class A: pass\ndef double(x): return [A(), range(3), (i for i in 'ab'), {1: 2}.keys(), map(abs, [])][x]\n";
    const ofObjects = `def check(c):
    assert c(0) and c(0) != c(0)
    assert c(1) != [0, 1, 2] and list(c(1)) == [0, 1, 2]
    assert tuple(c(2)) == ("a", "b") and c(3) == {1} and list(c(4)) == []
`;
    expect(await judge(objects, ofObjects)).toEqual({ passed: true, reason: "" });
  });

  test("tests use the prompt's helpers and the function's own name, and catch what it raises", async () => {
    const verdict = await sandbox.judge({
      entryPoint: "half",
      prompt: "def twice(x):\n    return 2 * x\n\ndef half(x):\n    '''Half.'''\n",
      program: "def half(x):\n    if x < 0: raise ValueError('negative')\n    return x // 2\n",
      test: `def check(candidate):
    assert candidate(twice(4)) == 4 and half(2) == 1
    try: candidate(-1)
    except ValueError as error: assert str(error) == "negative"
    else: assert False
`,
    });
    expect(verdict).toEqual({ passed: true, reason: "" });
  });

  test("each program begins anew: nothing of the one before is left", async () => {
    await judge("import builtins, json, sys\nbuiltins.left = 1\njson.left = 1\ndef double(x): return 2 * x\n");
    const looks =
      "import builtins, json\ndef double(x): return 6 - hasattr(builtins, 'left') - hasattr(json, 'left')\n";
    expect(await judge(looks)).toEqual({ passed: true, reason: "" });
  });

  test("tests that swallow the end of the program do not make it right", async () => {
    const swallow = "def check(c):\n    try: c(1)\n    except BaseException: pass\n";
    expect(await judge("import os\ndef double(x): os._exit(0)\n", swallow)).toEqual({
      passed: false,
      reason: "ended with code 0 before its tests did",
    });
  });

  test("tests without end are ended too, and the next program has its own", async () => {
    expect((await judge(right.program, "def check(c):\n    while True: pass\n")).reason).toContain(
      "its tests: used over 3 s",
    );
    expect((await sandbox.judge(right)).passed).toBe(true);
  });

  test("an abort ends the program at once", async () => {
    const controller = new AbortController();
    const running = sandbox.judge(tested("while True: pass"), controller.signal);
    setTimeout(() => controller.abort(new Error("stop")), 200);
    await expect(running).rejects.toThrow("stop");
    expect((await sandbox.judge(right)).passed).toBe(true);
  });

  test("the report names what was tried", () => {
    expect(sandbox.report).toMatchObject({ files: true, network: true, processes: true, verdictFromOutside: true });
    expect(sandbox.report.permissions).toContain("file reads");
    expect(sandbox.report.python).toMatch(/^CPython 3\.\d+\.\d+ in WebAssembly$/);
    expect(sandbox.report.processorTime).toBe(process.platform === "linux");
  });
});

const root = process.getuid?.() === 0;
/**
 * With the rights that the sandbox takes here: nobody's where root runs the tests, else the caller's. The corpus takes a minute:
 * ATTACKS=all runs it both ways.
 */
const caller = { who: "the caller", uid: undefined };
const nobody = { who: "nobody", uid: 65534 };
const users = process.env.ATTACKS === "all" ? [caller, ...(root ? [nobody] : [])] : [root ? nobody : caller];

describe.skipIf(why !== "").for(users)("attacks from a process of $who", ({ uid }) => {
  const folder = mkdtempSync(join(tmpdir(), "bitnet-attacks-"));
  const file = join(folder, "canary");
  let sandbox: PythonSandbox;
  let impatient: PythonSandbox;
  let canary: ChildProcess;
  const servers: Server[] = [];
  const udp = createSocket("udp4");
  let reached = 0;
  let port = 0;

  beforeAll(async () => {
    // World-writable: only the sandbox stands between.
    chmodSync(folder, 0o777);
    writeFileSync(file, "canary");
    writeFileSync(join(folder, "canary_module.py"), "");
    chmodSync(file, 0o666);
    const listen = (place: string | number) =>
      new Promise<Server>((resolve) => {
        const server = createServer((socket) => {
          reached++;
          socket.destroy();
        });
        servers.push(server);
        if (typeof place === "string") server.listen(place, () => resolve(server));
        else server.listen(place, "127.0.0.1", () => resolve(server));
      });
    port = ((await listen(0)).address() as { port: number }).port;
    if (process.platform !== "win32") await listen(join(folder, "socket"));
    udp.on("message", () => reached++);
    await new Promise<void>((resolve) => udp.bind(port, "127.0.0.1", resolve));
    canary = spawn(process.execPath, ["-e", "setInterval(() => {}, 1e6)"], { stdio: "ignore" });
    const chosen = { footings: footings().filter((one) => one.uid === uid) };
    sandbox = await openPythonSandbox(limits, chosen);
    impatient = await openPythonSandbox({ ...limits, wallMs: 5000 }, chosen);
    expect(sandbox.report.user).toBe(uid === undefined ? "caller" : "nobody");
  });
  afterAll(async () => {
    await Promise.all([sandbox.close(), impatient.close()]);
    for (const server of servers) server.close();
    udp.close();
    canary.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });

  const run = async (attack: Attack): Promise<string> => {
    const program = programOfAttack(attack, {
      ...{ FILE: file, FOLDER: folder, SOCKET: join(folder, "socket"), PORT: port },
      ...{ PID: canary.pid as number, CONTROL: process.pid },
    });
    const { passed, reason } = await (attack.name === "sleep" ? impatient : sandbox).judge(tested(program));
    return passed ? "PASSED" : reason;
  };
  const limited =
    /^(used|took|printed|answered|waits|its answer) |ended with code|the interpreter stopped|its process ended|SystemExit/;
  const fates: Record<Attack["fate"], RegExp> = {
    refused: /^(?!.*(WORKED|PASSED|wrong answer|used over|took over)).+$/s,
    ended: limited,
    harmless: /^(?!PASSED).+$/s,
  };

  test("none passes, reaches the canaries or ends the evaluator", async () => {
    const before = { ...statSync(file), atimeMs: 0, atime: 0 };
    const wrong: string[] = [];
    let next = 0;
    const work = async () => {
      for (let attack = attacks[next++]; attack; attack = attacks[next++]) {
        const reason = await run(attack);
        if (!fates[attack.fate].test(reason)) wrong.push(`${attack.name}: ${reason}, expected ${attack.fate}`);
      }
    };
    await Promise.all([work(), work()]);
    expect(wrong).toEqual([]);
    expect(reached).toBe(0);
    expect(readFileSync(file, "utf8")).toBe("canary");
    expect({ ...statSync(file), atimeMs: 0, atime: 0 }).toEqual(before);
    expect(readdirSync(folder).sort()).toEqual(["canary", "canary_module.py", "socket"]);
    expect(canary.exitCode ?? canary.signalCode).toBeNull();
    expect(await sandbox.judge(right)).toEqual({ passed: true, reason: "" });
  });
});

test.skipIf(why !== "")("a sandbox that is closed leaves no process", async () => {
  const sandbox = await openPythonSandbox(limits);
  await Promise.all([sandbox.judge(right), sandbox.judge(right)]);
  await sandbox.close();
  if (process.platform !== "linux") return;
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").split(" ").filter(Boolean);
  const programs = children.map((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8"));
  expect(programs.filter((line) => line.includes("serveGuests"))).toEqual([]);
});
