"""Runs a tutorial in a root, and compares what it prints with what the tutorial says.

In its indented blocks "# COMMAND" is root's, whose output nobody is shown; "$ COMMAND" is the user's, with lines "> ..."
that go on with it, and the lines below are what it prints. What varies from run to run is compared by its form (VARYING),
reports of progress are not, and a line "..." stands for any lines. "$ rum shell" is typed at a terminal of its own, and what
follows each "NAME$ " of the lines below it at its prompt. With --write FILE the tutorial is written anew, with what was printed. Between "<!-- upgrade -->" and the next command the
package is upgraded, purged and installed again while the machine runs and somebody connects to a forwarded port; before
that it is said what CPU time commands take that find nothing to do.
"""

import hashlib
import http.server
import os
import pty
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

VARYING = [
    (r"\x1b\[[0-9;]*m", ""),
    (r"\b([0-9a-f]{12}|[0-9a-f]{16})\b", "ID"),
    (r"\b[0-9]+(\.[0-9]+)? (s|ms|min)\b", "TIME"),
    (r"\b20[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9:]{8}", "DAY AND TIME"),
    (r"\bfec0:[0-9a-f:]+", "ADDRESS"),
    (r", TIME\)", ")"),
    (r"applied [0-9]+ \(TIME ago\)", "applied"),
    (r"\S (\S+ → \S+) \([0-9]+ open, .*\)", r"MARK \1 (FORWARD)"),  # who listens by now, and has been asked
    (r"\b[0-9]+\.[0-9]+\.[0-9]+\b(?!\.)", "VERSION"),
]
PROGRESS = re.compile(r"\s+… ")


def plain(lines):
    """What is to be the same each time."""
    kept = []
    for line in lines:
        for pattern, word in VARYING:
            line = re.sub(pattern, word, line)
        if not PROGRESS.match(line):
            kept.append(line.rstrip())
    return kept


def are_the_same(said, printed):
    parts = "\n".join(plain(said) + [""]).split("...\n")
    pattern = "(.*\n)*".join(re.escape(part) for part in parts)
    return re.fullmatch(pattern, "\n".join(plain(printed) + [""])) is not None


class Shell:
    """A login shell of the user's, or root's, in the root."""

    def __init__(self, root, user):
        self.process = subprocess.Popen(
            ["chroot", root, "runuser", "-l", user, "-c", "exec bash --norc --noprofile"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, command):
        """What it printed, and its exit status."""
        mark = f"-- end of {os.urandom(8).hex()} "
        self.process.stdin.write(f"{{ {command}\n}} </dev/null\nstatus=$?; echo; echo '{mark}'$status\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line.startswith(mark):
                if lines and lines[-1] == "":
                    lines.pop()
                return lines, int(line[len(mark):])
            lines.append(line.rstrip("\n"))
        raise SystemExit(f"the shell ended at: {command}\n" + "\n".join(lines))


PROMPT = re.compile(r"\S+@\S+:\S*[$#] ")
# What a shell tells the terminal, and nobody sees: colours, the window's title, how to paste.
UNSEEN = re.compile(r"\x1b\][^\x07]*\x07|\x1b\[[0-9;?]*[a-zA-Z]|\r")


def at_a_terminal(root, folder, command, typed):
    """What a person sees who types the lines of `typed`, each at the next prompt; and the exit status."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("chroot", ["chroot", root, "runuser", "-l", "dev", "--session-command",
                             f"export XDG_RUNTIME_DIR=/run/user/1000 LANG=C.UTF-8 TERM=xterm; cd {folder}; exec {command}"])
    seen, waiting = "", list(typed)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 1)[0]:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # the last program left it
                break
            seen += piece.decode("utf-8", "replace")
        prompts = sum(PROMPT.match(line) is not None for line in UNSEEN.sub("", seen).split("\n"))
        if waiting and prompts > len(typed) - len(waiting):
            os.write(terminal, (waiting.pop(0) + "\r").encode())
    else:
        os.kill(pid, signal.SIGKILL)
        seen += "\n... and it did not end"
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return [line.rstrip() for line in UNSEEN.sub("", seen).rstrip().split("\n")], status


class ImageServer(http.server.BaseHTTPRequestHandler):
    image = ""
    name = "debian-12-generic-amd64.qcow2"
    sums = b""

    def do_GET(self):
        path = self.path.rsplit("/", 1)[-1]
        if path == "SHA512SUMS":
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.sums)))
            self.end_headers()
            self.wfile.write(self.sums)
        elif path == self.name:
            self.send_response(200)
            self.send_header("Content-Length", str(os.path.getsize(self.image)))
            self.end_headers()
            with open(self.image, "rb") as file:
                while block := file.read(1 << 20):
                    self.wfile.write(block)
        else:
            self.send_error(404)

    def log_message(self, *_):
        pass


def serve_image(image, certificate, key):
    ImageServer.image = image
    with open(image, "rb") as file:
        digest = hashlib.file_digest(file, "sha512").hexdigest()
    ImageServer.sums = f"{digest}  {ImageServer.name}\n".encode()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 443), ImageServer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()


class Caller:
    """Somebody who connects to a forwarded port again and again, and must not be refused."""

    def __init__(self):
        self.refused, self.connected, self.ended = [], 0, threading.Event()
        self.thread = threading.Thread(target=self.call)
        self.thread.start()

    def call(self):
        while not self.ended.is_set():
            try:
                socket.create_connection(("127.0.0.1", 8080), timeout=60).close()
                self.connected += 1
            except OSError as error:
                self.refused.append(f"a connection meanwhile: {error}")
            time.sleep(0.05)  # each is also one of the guest's, which is slow

    def end(self):
        self.ended.set()
        self.thread.join()
        return self.refused if self.connected > 10 else self.refused + [f"only {self.connected} connections meanwhile"]


UNPACK = 'rm -rf next next.deb && dpkg-deb -R "$deb" next'
# As a package of the next build is: another version, and sums of what is in it.
PACK = r"""
sed -i 's/^Version: .*/&+next/' next/DEBIAN/control
(cd next && find usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
dpkg-deb --root-owner-group -Znone -b next next.deb >/dev/null
""".strip()
BUILD_ID = re.compile(rb"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0(.{20})", re.DOTALL)


def make_another_build(program):
    """Of a program: the same one, by another build id."""
    with open(program, "r+b") as file:
        at = BUILD_ID.search(file.read())
        file.seek(at.start(1))
        file.write(bytes(byte ^ 0xff for byte in at[1]))


def machines():
    """The processes of machines of the user's."""
    return subprocess.run(["pgrep", "-u", "1000", "qemu-system"], stdout=subprocess.PIPE, text=True).stdout.split()


class Upgrade:
    """Of the package, under a machine that runs."""

    def __init__(self, root, user, root_shell):
        self.root, self.user, self.root_shell, self.wrong = root, user, root_shell, []

    def expect(self, what, good):
        if not good:
            self.wrong.append(what)

    def as_root(self, command):
        lines, status = self.root_shell.run(command)
        self.expect(f"# {command}\n" + "\n".join(lines), status == 0)
        return lines

    def asked(self, command):
        """What the user is told, in one line."""
        lines, status = self.user.run(command)
        self.expect(f"$ {command}\n" + "\n".join(lines), status == 0)
        return lines[0] if lines else ""

    def controller(self):
        return self.asked("rum controller status")

    def of_machine(self):
        """What is to stay as it is."""
        # A connection waits for a new controller, and 2 s for the agent behind it.
        page = self.asked("curl -s --retry 30 --retry-delay 1 --retry-all-errors http://127.0.0.1:8080/")
        return self.asked("rum exec cat /proc/sys/kernel/random/boot_id"), page, machines()

    def agent(self):
        """The sum of the program that the guest's agent is."""
        return self.asked("rum exec -- sh -c 'sha256sum /proc/$(systemctl show -p MainPID --value rum-agent)/exe'").split()[0]

    def kept_files(self):
        return set(self.asked("find ~ -type f ! -name '*.log' | sort | tr '\\n' ' '").split())

    def run(self):
        deb = next(name for name in os.listdir(f"{self.root}/home/dev") if name.endswith(".deb"))
        self.as_root(f"cd /tmp && deb=/home/dev/{deb} && {UNPACK}")
        for program in "usr/bin/rum", "usr/lib/rum/rum-controller", "usr/lib/rum/rum-agent":
            make_another_build(f"{self.root}/tmp/next/{program}")
        self.as_root(PACK)
        machine, before, agent = self.of_machine(), self.controller(), self.agent()
        caller = Caller()
        self.as_root("dpkg -i /tmp/next.deb")
        version = self.as_root("dpkg-query -W -f '${Version}\\n' rum")
        self.expect(f"the version is {version}", version[:1] and version[0].endswith("+next"))
        self.expect("dpkg -V rum: files of the package are missing or differ", not self.as_root("dpkg -V rum"))
        outdated = self.controller()
        self.expect(f"the controller of the version before is not outdated: {outdated}", "(outdated)" in outdated)
        self.asked("rum list")
        after = self.controller()
        self.expect(f"the controller was not replaced: {before} -> {after}",
                    "(outdated)" not in after and after.split()[3:4] != before.split()[3:4])
        self.expect("the machine did not go on through the upgrade", self.of_machine() == machine)
        of_package, now = self.as_root("sha256sum /usr/lib/rum/rum-agent")[0].split()[0], self.agent()
        self.expect(f"the guest's agent is {now}, it was {agent}, and the package's is {of_package}", now == of_package != agent)
        self.purge_and_install(machine)
        self.wrong += caller.end()
        return self.wrong

    def purge_and_install(self, machine):
        files, of_package = self.kept_files(), self.as_root("dpkg -L rum")
        running = machines()
        self.as_root("dpkg --purge rum")
        left = [path for path in of_package if not os.path.isdir(self.root + path) and os.path.lexists(self.root + path)]
        self.expect(f"purging the package left {left}", not left)
        gone = files - self.kept_files()
        self.expect(f"purging the package took files of the user's: {gone}", not gone)
        self.expect("purging the package ended the machine", machines() == running)
        self.as_root("dpkg -i /tmp/next.deb")
        self.expect("the machine did not go on without the package", self.of_machine() == machine)


def cpu_ticks_of(controller):
    """Of a controller and the processes that it has for guests, and of those that have ended."""
    parents, ticks = {}, {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:  # it ended
            continue
        parents[int(name)], ticks[int(name)] = int(fields[1]), sum(map(int, fields[11:15]))
    total = 0
    for pid, taken in ticks.items():
        above = pid
        while above not in (0, controller):
            above = parents.get(above, 0)
        total += taken if above == controller else 0
    return total


def say_what_commands_take(user, rounds=20):
    """CPU time of this host for a command that finds nothing to do."""
    for command in "rum status", "rum apply", "rum list":
        user.run(command)
        controller = int(user.run("rum controller status")[0][0].split()[3])
        before = cpu_ticks_of(controller)
        lines, _ = user.run(f"bash -c 'for i in $(seq {rounds}); do {command} >/dev/null; done; times'")
        minutes = [re.fullmatch(r"(\d+)m([\d.]+)s", word) for word in lines[-1].split()]
        client = sum(int(m[1]) * 60 + float(m[2]) for m in minutes) * 1e3 / rounds
        behind = (cpu_ticks_of(controller) - before) * 1e3 / os.sysconf("SC_CLK_TCK") / rounds
        print(f"{command}, nothing to do: {client + behind:.1f} ms of CPU, {client:.1f} of them the client's", flush=True)


def main():
    tutorial, root, certificate, key, image = sys.argv[1:6]
    write = sys.argv[7] if sys.argv[6:7] == ["--write"] else None
    serve_image(image, certificate, key)
    root_shell, user = Shell(root, "root"), Shell(root, "dev")
    user.run("export XDG_RUNTIME_DIR=/run/user/1000 LANG=C.UTF-8")
    root_shell.run("cd /home/dev; export DEBIAN_FRONTEND=noninteractive")
    with open(tutorial, encoding="utf-8") as file:
        lines = file.read().split("\n")
    written, wrong, commands, i = [], [], 0, 0
    while i < len(lines):
        line = lines[i]
        i += 1
        written.append(line)
        if line.strip() == "<!-- upgrade -->":
            say_what_commands_take(user)
            wrong += Upgrade(root, user, root_shell).run()
        if line.startswith("    # "):
            printed, status = root_shell.run(line[6:])
            commands += 1
            if status != 0:
                raise SystemExit(f"{line.strip()}: exit status {status}\n" + "\n".join(printed))
        if not line.startswith("    $ "):
            continue
        command = line[6:].split("   # ")[0]
        while i < len(lines) and lines[i].startswith("    > "):
            command += "\n" + lines[i][6:]
            written.append(lines[i])
            i += 1
        said = []
        while i < len(lines) and lines[i].startswith("    ") and not re.match(r"    [$#] ", lines[i]):
            said.append(lines[i][4:])
            i += 1
        began = time.monotonic()
        if command == "rum shell":
            typed = [PROMPT.sub("", text, count=1) for text in said if PROMPT.match(text)]
            folder = user.run("pwd")[0][0]
            printed, status = at_a_terminal(root, folder, command, typed)
        else:
            printed, status = user.run(command)
        commands += 1
        print(f"[{time.monotonic() - began:5.1f} s] $ {command.splitlines()[0]}  -> {status}", flush=True)
        same = are_the_same(said, printed)
        written += ["    " + text for text in (said if same and "..." in said else printed)]
        if not same:
            wrong.append(f"$ {command}  (exit status {status})\n  the tutorial says:\n" + "".join(f"    {t}\n" for t in said) +
                         "  it printed:\n" + "".join(f"    {t}\n" for t in printed))
    if write:
        with open(write, "w", encoding="utf-8") as file:
            file.write("\n".join(written))
    if left := machines():
        wrong.append(f"machines are left: {left}")
    print(f"{commands} commands of the tutorial ran, {len(wrong)} differ")
    if wrong and not write:
        log = f"{root}/home/dev/.local/state/rum/controller.log"
        if os.path.exists(log):
            print(open(log, encoding="utf-8", errors="replace").read()[-4000:])
        raise SystemExit("\n".join(wrong))


main()
