"""Two builds of rum, a machine of each, the same jobs in turns. tests/bench/builds runs it beside a libvirtd of its own.

builds.py IMAGE IN_GUEST ROUNDS OLD_FOLDER NEW_FOLDER: each folder has rum, rum-controller and rum-agent of one build.
"""
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SERVER_PORT = 7000
CONNECTIONS = 40  # a round
ECHOES = 200      # a round
APPLIES = 4       # a round
BULK = 32_000_000


def free_port():
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


class Machine:
    """A machine of one build, in a world of its own."""

    def __init__(self, name, programs, image, in_guest):
        self.name = name
        self.rum = os.path.join(programs, "rum")
        self.folder = tempfile.mkdtemp(prefix="rum-builds-", dir="/tmp")
        os.chmod(self.folder, 0o711)  # QEMU runs as another user
        for sub in ("state", "run", "data", "home", "project"):
            os.mkdir(os.path.join(self.folder, sub))
        os.chmod(os.path.join(self.folder, "run"), 0o700)
        self.project = os.path.join(self.folder, "project")
        home = os.path.join(self.folder, "home")
        self.env = {**os.environ, "HOME": home, "XDG_RUNTIME_DIR": self.folder + "/run", "XDG_CONFIG_HOME": home + "/.config",
                    "XDG_CACHE_HOME": home + "/.cache", "RUM_STATE_DIR": self.folder + "/state", "RUM_RUNTIME_DIR": self.folder + "/run/rum",
                    "RUM_DATA_DIR": self.folder + "/data", "RUM_AGENT": os.path.join(programs, "rum-agent"), "NO_COLOR": "1",
                    "LC_ALL": "C.UTF-8"}
        self.port = free_port()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home + "/key"], check=True)
        try:  # in the project, which asks for no consent
            os.link(image, self.project + "/disk.qcow2")
        except OSError:
            shutil.copy(image, self.project + "/disk.qcow2")
        with open(home + "/key.pub", encoding="utf-8") as key:
            self.key = key.read().strip()
        self.save(self.first_text(name))
        self.ssh = ["ssh", "-F", "/dev/null", "-i", home + "/key"]
        for option in ("BatchMode=yes", "LogLevel=ERROR", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null",
                       "ControlPath=" + home + "/ssh"):
            self.ssh += ["-o", option]
        self.run("up", "-d")
        with open(in_guest, "rb") as program:
            self.run("exec", "--", "sh", "-c", "cat >/var/tmp/in_guest && chmod +x /var/tmp/in_guest", stdin=program)
        self.warm_up()

    def first_text(self, name):
        return (f'[image]\nbase = "disk.qcow2"\n\n[resources]\ncpus = 1\nmemory_mb = 512\n\n[network]\nhostname = "{name}"\n\n'
                f'[advanced]\nlibvirt_uri = "qemu:///system"\n\n[[ports]]\nhost = {self.port}\nguest = {SERVER_PORT}\n\n'
                f'[ssh]\nauthorized_keys = ["{self.key}"]\n')

    def save(self, text):
        """By a rename, as editors do."""
        with open(self.project + "/rum.toml.new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(self.project + "/rum.toml.new", self.project + "/rum.toml")

    def warm_up(self):
        """After a start: the guest's services, the server that the forward leads to, and an open ssh."""
        self.run("exec", "--", "systemctl", "start", "ssh")
        subprocess.run([self.rum, "exec", "--", "systemctl", "is-system-running", "--wait"], cwd=self.project, env=self.env, check=False,
                       capture_output=True)
        self.run("exec", "--", "sh", "-c", f"setsid /var/tmp/in_guest serve {SERVER_PORT} </dev/null >/dev/null 2>&1 &")
        addresses = json.loads(self.run("exec", "--", "ip", "-j", "-4", "addr", "show", "scope", "global"))
        self.target = "rum@" + addresses[0]["addr_info"][0]["local"]
        subprocess.run(self.ssh + ["-O", "exit", self.target], check=False, capture_output=True)
        subprocess.run(self.ssh + ["-f", "-N", "-M", self.target], check=True)
        self.connect_and_echo()

    def run(self, *words, stdin=subprocess.DEVNULL):
        done = subprocess.run([self.rum, *words], cwd=self.project, env=self.env, stdin=stdin, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{self.name}: rum {' '.join(words)}: exit status {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=120)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def connect_and_echo(self):
        begin = time.perf_counter()
        with self.connect() as connection:
            connection.sendall(b"Ex")
            if connection.recv(1) != b"x":
                sys.exit(f"{self.name}: no echo through the forward")
            return (time.perf_counter() - begin) * 1000

    def echoes(self):
        samples = []
        with self.connect() as connection:
            connection.sendall(b"E" + b"e" * 64)
            connection.recv(64, socket.MSG_WAITALL)
            for _ in range(ECHOES):
                begin = time.perf_counter()
                connection.sendall(b"e" * 64)
                connection.recv(64, socket.MSG_WAITALL)
                samples.append((time.perf_counter() - begin) * 1000)
        return samples

    def upload(self):
        begin = time.perf_counter()
        with self.connect() as connection:
            connection.sendall(b"S" + b"u" * BULK)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
        return (time.perf_counter() - begin) * 1000

    def download(self):
        begin = time.perf_counter()
        with self.connect() as connection:
            connection.sendall(b"D%08x" % BULK)
            left = BULK
            while left > 0:
                got = len(connection.recv(256 * 1024))
                if got == 0:
                    sys.exit(f"{self.name}: the download ends early")
                left -= got
        return (time.perf_counter() - begin) * 1000

    def apply(self):
        begin = time.perf_counter()
        self.run("apply")
        return (time.perf_counter() - begin) * 1000

    def ssh_true(self):
        begin = time.perf_counter()
        subprocess.run(self.ssh + [self.target, "true"], check=True, stdin=subprocess.DEVNULL, capture_output=True)
        return (time.perf_counter() - begin) * 1000

    def end(self):
        subprocess.run(self.ssh + ["-O", "exit", self.target], check=False, capture_output=True)
        self.run("destroy")
        self.run("controller", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    image, in_guest, rounds, old, new = sys.argv[1:]
    sides = [Machine("before", old, image, in_guest), Machine("now", new, image, in_guest)]
    # A job's name, its samples of a round, and which side's ratio to the other is better below 1.
    jobs = {
        "no-op apply, ms": lambda machine: [machine.apply() for _ in range(APPLIES)],
        "ssh true, ms": lambda machine: [machine.ssh_true() for _ in range(APPLIES)],
        "connect and echo, ms": lambda machine: [machine.connect_and_echo() for _ in range(CONNECTIONS)],
        "64-byte echo, ms": lambda machine: machine.echoes(),
        "32 MB to the guest, ms": lambda machine: [machine.upload()],
        "32 MB from the guest, ms": lambda machine: [machine.download()],
    }
    samples = {(job, side.name): [] for job in jobs for side in sides}
    for number in range(-1, int(rounds)):  # the first is for what is read once
        for job, do in jobs.items():
            for side in sides if number % 2 == 0 else reversed(sides):
                got = do(side)
                if number >= 0:
                    samples[job, side.name].append(statistics.median(got))
        print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr)
    print(file=sys.stderr)
    print(f"medians of {rounds} rounds in turn\n")
    print("| | before | now | now / before, median of the rounds' | its quartiles |\n|---|---|---|---|---|")
    for job in jobs:
        before, now = samples[job, "before"], samples[job, "now"]
        ratios = [n / b for b, n in zip(before, now)]
        quartiles = statistics.quantiles(ratios, n=4)
        print(f"| {job} | {statistics.median(before):.2f} | {statistics.median(now):.2f} | **{quartiles[1]:.2f}** "
              f"| {quartiles[0]:.2f}–{quartiles[2]:.2f} |")
    for side in sides:
        ratio = statistics.median(samples["no-op apply, ms", side.name]) / statistics.median(samples["ssh true, ms", side.name])
        print(f"\nno-op apply to a warm ssh's true, {side.name}: {ratio:.2f}")
    for side in sides:
        side.end()


if __name__ == "__main__":
    main()
