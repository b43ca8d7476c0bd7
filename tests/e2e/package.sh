#!/usr/bin/env bash
# docs/tutorial.md, letter for letter: the package in a clean Debian, an ordinary user, his libvirt's session.
#   package.sh TUTORIAL.md TUTORIAL.py [--write FILE]
# RUM_TEST_PACKAGE is the .deb, RUM_TEST_ROOT what tools/clean-root made of it, RUM_TEST_IMAGE the guest; tools/test sets them.
# The root is under a layer and in namespaces of its own: all that is done there ends with the test.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
: "${RUM_TEST_PACKAGE:?is not set: run the tests by tools/test, which builds the package}"
: "${RUM_TEST_ROOT:?is not set: run the tests by tools/test, which makes the root}"
: "${RUM_TEST_IMAGE:?is not set: run the tests by tools/test, which builds the guest image}"
if [ "${1-}" != --inside ]; then
  layers=$(mktemp -d /tmp/rum-package-XXXXXX)
  trap 'rm -rf "$layers"' EXIT
  trap 'exit 130' INT TERM
  unshare --mount --net --pid --ipc --uts --fork --kill-child --mount-proc --propagation private -- \
    "$BASH" "$0" --inside "$layers" "$@"
  exit
fi
layers=$2 tutorial=$PWD/$3 runner=$PWD/$4
shift 4

chmod 755 "$layers"
mkdir "$layers"/{new,work,root}
root=$layers/root
mount -t overlay overlay -o "lowerdir=$RUM_TEST_ROOT,upperdir=$layers/new,workdir=$layers/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
for folder in dev tmp run; do mount -t tmpfs -o mode=755 tmpfs "$root/$folder"; done
chmod 1777 "$root/tmp"
# No /dev/kvm: what QEMU does here, it does everywhere.
for node in null zero full random urandom tty; do touch "$root/dev/$node" && mount --bind "/dev/$node" "$root/dev/$node"; done
mkdir "$root"/dev/{pts,shm} "$root/run/lock"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
install -d -m 700 -o 1000 -g 1000 "$root/run/user/1000" # as logind does at a login
ip link set lo up
hostname tutorial
cp "$RUM_TEST_PACKAGE" "$root/home/dev/"

# Debian's server of images, as this test has it.
cd "$layers"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=cloud.debian.org -addext subjectAltName=DNS:cloud.debian.org \
  -keyout server.key -out server.crt 2>openssl.log || { cat openssl.log; exit 1; }
cat server.crt >>"$root/etc/ssl/certs/ca-certificates.crt"
echo '127.0.0.1 localhost tutorial cloud.debian.org' >"$root/etc/hosts"
# A child: process 1 reaps what daemons leave, of which libvirt waits for the end.
python3 -I "$runner" "$tutorial" "$root" "$layers/server.crt" "$layers/server.key" "$RUM_TEST_IMAGE" "$@"
