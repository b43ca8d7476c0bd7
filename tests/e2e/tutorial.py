"""Runs a tutorial in a root, and compares what it prints with what the tutorial says.

In its indented blocks "# COMMAND" is root's, whose output nobody is shown; "$ COMMAND" is the user's, with lines "> ..."
that go on with it, and the lines below are what it prints. What varies from run to run is compared by its form (VARYING),
reports of progress are not, and a line "..." stands for any lines. "$ rum shell" is typed at a terminal of its own, and what
follows each "NAME$ " of the lines below it at its prompt. With --write FILE the tutorial is written anew, with what was printed. Between "<!-- upgrade -->" and the next command the
package is installed again, as another version, while somebody connects to a forwarded port.
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


def upgrade(root, user, root_shell):
    """Installs the next version; returns what is wrong."""
    def controller():
        lines, _ = user.run("rum controller status")
        return lines[0] if lines else ""

    deb = next(name for name in os.listdir(f"{root}/home/dev") if name.endswith(".deb"))
    lines, status = root_shell.run(
        "cd /tmp && dpkg-deb -R /home/dev/" + deb + " next && sed -i 's/^Version: .*/&+next/' next/DEBIAN/control && "
        "dpkg-deb --root-owner-group -Znone -b next next.deb")
    if status != 0:
        return ["repacking: "] + lines
    before = controller()
    wrong, ended = [], threading.Event()

    def connect():
        while not ended.is_set():
            try:
                socket.create_connection(("127.0.0.1", 8080), timeout=60).close()
            except OSError as error:
                wrong.append(f"a connection while the package was upgraded: {error}")
            time.sleep(0.05)  # each is also one of the guest's, which is slow

    client = threading.Thread(target=connect)
    client.start()
    lines, status = root_shell.run("dpkg -i /tmp/next.deb")
    outdated = controller()
    user.run("rum list")
    after = controller()
    ended.set()
    client.join()
    if status != 0:
        wrong += ["dpkg -i: "] + lines
    if "(outdated)" not in outdated:
        wrong.append(f"the controller of the version before is not outdated: {outdated}")
    if "(outdated)" in after or after.split()[3] == before.split()[3]:
        wrong.append(f"the controller was not replaced: {before} -> {after}")
    return wrong


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
            wrong += upgrade(root, user, root_shell)
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
    left = subprocess.run(["pgrep", "-u", "1000", "qemu-system"], stdout=subprocess.PIPE, text=True).stdout
    if left:
        wrong.append("machines are left: " + left)
    print(f"{commands} commands of the tutorial ran, {len(wrong)} differ")
    if wrong and not write:
        log = f"{root}/home/dev/.local/state/rum/controller.log"
        if os.path.exists(log):
            print(open(log, encoding="utf-8", errors="replace").read()[-4000:])
        raise SystemExit("\n".join(wrong))


main()
