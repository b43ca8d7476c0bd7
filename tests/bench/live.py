"""What goes live, by rum's loop, by hand and by a restart: from the save, or the first command, until the guest sees it.

tests/bench/live runs it beside a libvirtd of its own: live.py IMAGE IN_GUEST ROUNDS FOLDER, which has rum, rum-controller and rum-agent.
"""
import statistics
import subprocess
import sys
import time

from builds import Machine

RESTARTS = 3  # rounds in which a restart takes its turn, too

# What is in the file before and after, and what the guest says of it.
JOBS = {
    "memory 512 → 768 MiB": ({"memory": 512}, {"memory": 768}, "awk '/^MemTotal:/ {exit !($2 %s 500000)}' /proc/meminfo", ("<", ">")),
    "vCPUs 1 → 2": ({"cpus": 1}, {"cpus": 2}, "test $(nproc) = %s", ("1", "2")),
    "a drive with ext4": ({}, {"drive": True}, "%s findmnt /data >/dev/null", ("!", "")),
}


class Guest(Machine):
    drives = 0

    def text(self, cpus=2, memory=512, drive=False):
        self.drives += drive  # each a new one: what was on one that comes back would still be there
        return (f'[resources]\ncpus = {cpus}\nmax_cpus = 2\nmemory_mb = {memory}\nmax_memory_mb = 1024\n\n[network]\nhostname = "live"\n\n'
                f'[advanced]\nlibvirt_uri = "qemu:///system"\n\n[[ports]]\nhost = {self.port}\nguest = 7000\n\n'
                f'[ssh]\nauthorized_keys = ["{self.key}"]\n\n[image]\nbase = "disk.qcow2"\n' +
                (f'\n[drives.d{self.drives}]\nsize = "64M"\n\n[[fs.ext4]]\ndrive = "d{self.drives}"\ntarget = "/data"\n' if drive else ""))

    def first_text(self, name):
        return self.text()

    def domain(self):
        names = subprocess.run(["virsh", "-q", "list", "--name"], check=True, capture_output=True, text=True).stdout.split()
        return next(name for name in names if name.startswith("rum-"))

    def over_ssh(self, line):
        subprocess.run(self.ssh + [self.target, line], check=True, stdin=subprocess.DEVNULL, capture_output=True)

    def seen(self, condition, act):
        """Seconds from the beginning of `act` until the guest sees it, by a loop in the guest that was there before."""
        loop = subprocess.Popen(self.ssh + [self.target, f"echo ready; until {condition}; do sleep 0.02; done"], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, text=True)
        loop.stdout.readline()
        begin = time.perf_counter()
        act()
        if loop.wait() != 0:
            sys.exit(f"not seen in the guest: {condition}")
        return time.perf_counter() - begin

    def by_hand(self, job):
        virsh = ["virsh", "-q"]
        domain = self.domain()
        if "memory" in job:
            for where in ("--config", "--live"):
                subprocess.run(virsh + ["update-memory-device", domain, "--alias", "ua-rum-memory", "--requested-size", "256M", where], check=True,
                               capture_output=True)
            self.over_ssh("for f in /sys/devices/system/memory/memory*/state; do grep -q offline $f && echo online_movable | sudo tee $f; done; true")
        elif "vCPU" in job:
            self.over_ssh("echo 1 | sudo tee /sys/devices/system/cpu/cpu1/online")
        else:
            disk = self.folder + "/hand.qcow2"
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
            subprocess.run(virsh + ["attach-disk", domain, disk, "vdy", "--subdriver", "qcow2", "--serial", "hand", "--live", "--config"], check=True,
                           capture_output=True)
            self.over_ssh("until [ -e /dev/disk/by-id/virtio-hand ]; do sleep 0.02; done; sudo mkfs.ext4 -q /dev/disk/by-id/virtio-hand && "
                          "sudo mkdir -p /data && sudo mount /dev/disk/by-id/virtio-hand /data")

    def undo_by_hand(self, job):
        if "drive" in job:
            self.over_ssh("sudo umount /data")
            subprocess.run(["virsh", "-q", "detach-disk", self.domain(), "vdy", "--live", "--config"], check=True, capture_output=True)
        self.run("apply")  # the rest is drift by now, and put right


def main():
    image, in_guest, rounds, folder = sys.argv[1:]
    guest = Guest("live", folder, image, in_guest)
    rows = {job: {"rum": [], "rum, taken back": [], "by hand": [], "restart": []} for job in JOBS}
    for number in range(-1, int(rounds)):  # the first is for what is read once
        for job, (before, after, condition, (old, new)) in JOBS.items():
            def note(way, seconds, job=job):
                if number >= 0:
                    rows[job][way].append(seconds)

            def by_rum():
                note("rum", guest.seen(condition % new, lambda: guest.save(guest.text(**after))))
                note("rum, taken back", guest.seen(condition % old, lambda: guest.save(guest.text(**before))))
                guest.run("apply")

            def by_hand():
                guest.save(guest.text(**before) + "\n[reconcile]\nauto = false\n")
                guest.run("apply")
                note("by hand", guest.seen(condition % new, lambda: guest.by_hand(job)))
                guest.undo_by_hand(job)
                guest.save(guest.text(**before))
                guest.run("apply")

            guest.save(guest.text(**before))
            guest.run("apply")
            for way in (by_rum, by_hand) if number % 2 == 0 else (by_hand, by_rum):
                way()
            if 0 <= number < RESTARTS:
                begin = time.perf_counter()
                guest.save(guest.text(**after) + "\n[reconcile]\nauto = false\n")
                guest.run("apply", "--no-live")
                guest.run("restart")
                note("restart", time.perf_counter() - begin)
                guest.warm_up()
        print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr)
    print(file=sys.stderr)
    print(f"seconds, medians of {rounds} rounds in turn ({RESTARTS} of restarts)\n")
    print("| | rum: save to seen | taken back | by hand | restart | rum / by hand | rum / restart |\n|---|---|---|---|---|---|---|")
    for job, ways in rows.items():
        rum, back, hand, restart = (statistics.median(ways[way]) for way in ways)
        print(f"| {job} | {rum:.2f} | {back:.2f} | {hand:.2f} | {restart:.1f} | **{rum / hand:.2f}** | **{rum / restart:.3f}** |")
    guest.end()


if __name__ == "__main__":
    main()
