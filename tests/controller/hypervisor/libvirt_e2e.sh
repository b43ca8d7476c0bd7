#!/bin/bash
# Runs libvirt_e2e_test (argument 1) on a libvirt of its own (argument 2: system or session), which no user of this
# machine shares: in namespaces with empty /run and /var/lib/libvirt; the session as a user without rights.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
test=$(realpath "$1") kind=$2

if [[ ${RUM_E2E_INSIDE:-} != 1 ]]; then
  [[ $EUID == 0 ]] || { echo "this test needs root for namespaces"; exit 1; }
  export RUM_E2E_INSIDE=1
  exec unshare -m -n -p -i --fork --kill-child --mount-proc -- "$0" "$test" "$kind"
fi

mount --make-rprivate /
etc=$(mktemp -d) # $$ is 1 here, in each that runs
cp -a /etc/libvirt/. "$etc"
for folder in /run /var/lib/libvirt /var/cache/libvirt /etc/libvirt; do
  mkdir -p "$folder" && mount -t tmpfs -o mode=755 tmpfs "$folder"
done
cp -a "$etc"/. /etc/libvirt/ && rm -r "$etc"
mkdir /run/bin && cp "$test" /run/bin/test && test=/run/bin/test  # it may lie below /tmp
mount -t tmpfs -o mode=1777 tmpfs /tmp  # short paths for sockets
ip link set lo up

# A /dev/kvm that QEMU's user cannot open makes libvirt probe QEMU anew for every definition (10 s and more).
if [[ -c /dev/kvm ]]; then
  mknod /run/kvm c 10 232 && chown root:kvm /run/kvm && chmod 660 /run/kvm
  mount --bind /run/kvm /dev/kvm
fi
export RUM_TEST_DIR=/tmp/e RUM_DATA_DIR=/tmp/e/data RUM_CACHE_DIR=/tmp/e/cache RUM_STATE_DIR=/tmp/e/state
mkdir -p /tmp/e
qemu-img create -q -f qcow2 /tmp/e/base.qcow2 10M
truncate -s 10M /tmp/e/other.raw
printf '\x55\xaa' | dd of=/tmp/e/other.raw bs=1 seek=510 conv=notrunc status=none # a boot sector: else it is no image
cp /tmp/e/base.qcow2 /tmp/e/private.qcow2
cp /tmp/e/other.raw /tmp/e/private.raw
chmod 600 /tmp/e/private.*
head -c 300000 /dev/urandom > /tmp/e/agent
unset XML_OUTPUT_FILE TEST_WARNINGS_OUTPUT_FILE TEST_PREMATURE_EXIT_FILE

if [[ $kind == system ]]; then
  mkdir -p /var/lib/libvirt/images
  virtlogd -d
  libvirtd -d
  RUM_TEST_URI=qemu:///system "$test"
else
  mkdir -p /tmp/e/home /tmp/e/run && chmod 700 /tmp/e/run && chown -R nobody:nogroup /tmp/e
  cd /tmp/e
  RUM_TEST_URI=qemu:///session HOME=/tmp/e/home XDG_RUNTIME_DIR=/tmp/e/run \
    setpriv --reuid=nobody --regid=nogroup --clear-groups env -u XDG_DATA_HOME -u XDG_CONFIG_HOME "$test"
fi
