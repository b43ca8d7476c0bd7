#include "tests/cli/failures.h"

namespace rum {

std::vector<Failure> FailuresOfFiles() {
  return {
      {"no file", "rm rum.toml", "rum up -d", "there is no rum.toml here",
       "and no machine was made from it", "`rum init` writes a first one"},
      {"another folder", "mkdir deeper", "cd deeper && rum status", "there is no rum.toml here",
       "above is ../rum.toml", "`rum -c ../rum.toml COMMAND`"},
      {"the file has another name", "mv rum.toml shop.rum.toml", "rum up -d",
       "there is no rum.toml here", "here is shop.rum.toml", "`rum -c shop.rum.toml COMMAND`"},
      {"the name does not end in .toml", "mv rum.toml rum.conf", "rum -c rum.conf up -d",
       "must end in .toml", "rum.conf", "the name of a machine's file"},
      {"a command is misspelled", "", "rum stauts", "has no command stauts", "`rum`",
       "did you mean `status`?"},
      {"an option is misspelled", "", "rum up --detatch", "does not take --detatch", "`rum up`",
       "did you mean `--detach`?"},
      {"the file is there already", "", "rum init", "is there already and was left as it is",
       "rum.toml", "`rum up` starts its machine"},
      {"an image's name is misspelled", "rm rum.toml", "rum init --image debain-12",
       "is neither a file here, nor a URL, nor a shorthand", "--image \"debain-12\"",
       "did you mean `debian-12`?"},
      {"a port that cannot be", "rm rum.toml", "rum init --port 99999:80",
       "must be from 1 to 65535", "--port 99999:80: host", "nothing was written"},
      {"a folder in its place", "rm rum.toml; mkdir rum.toml", "rum up -d",
       "cannot be read: Is a directory", "rum.toml: error", ""},
      {"no closing quote", "good | sed 's/qcow2\"/qcow2/' >rum.toml", "rum up -d",
       "the text has no closing quote in its line",
       "rum.toml:2:", "\"\"\" begins one of several lines"},
      {"a conflict of a merge", "{ good; echo '<<<<<<< HEAD'; } >rum.toml", "rum up -d",
       "a merge left a conflict here", "rum.toml:8:1", "keep one of its two sides"},
      {"not UTF-8", "good | iconv -t UTF-16 >rum.toml", "rum check", "the file is UTF-16",
       "rum.toml:1:1", "save it as UTF-8"},
      {"a : in place of =", "good | sed 's/cpus =/cpus:/' >rum.toml", "rum check",
       "a value stands behind a =", "rum.toml:4:5", "NAME = VALUE"},
      {"a text without quotes", "good | sed 's/\"//g' >rum.toml", "rum check",
       "a text stands between quotes", "rum.toml:2:8", "NAME = \"text\""},
      {"typographic quotes", "good | sed 's/\"/”/g' >rum.toml", "rum check",
       "typographic quotes are no quotes of TOML", "rum.toml:2:8", "write \""},
      {"a heading twice", "{ good; good; } >rum.toml", "rum check",
       "[image] is there already, further up", "rum.toml:8:1", "below that one heading"},
      {"a drive's name twice",
       "{ good; printf '[drives.a]\\nsize=\"1G\"\\n[drives.a]\\nsize=\"2G\"\\n'; } >rum.toml",
       "rum check", "[drives.a] is there already, further up", "rum.toml:10:1",
       "below that one heading"},
      {"a key that there is not", "good | sed s/memory_mb/memroy_mb/ >rum.toml", "rum up -d",
       "unknown key resources.memroy_mb", "rum.toml:5:1", "did you mean `memory_mb`?"},
      {"a key is missing", "good | sed /cpus/d >rum.toml", "rum up -d",
       "resources.cpus is missing and has no default", "rum.toml:3:1", "set it to an integer"},
      {"a number with quotes", "good | sed 's/512/\"2G\"/' >rum.toml", "rum up -d",
       "must be an integer, not a string", "rum.toml:5:13: error: resources.memory_mb",
       "a number stands without quotes"},
      {"two forwards of one port",
       "{ good; for p in 80 81; do printf '[[ports]]\\nhost=8080\\nguest='$p'\\n'; done; } "
       ">rum.toml",
       "rum up -d", "ports[1].host 8080 on 127.0.0.1 collides with ports[0]", "rum.toml:12:6", ""},
      {"a drive that there is not",
       "{ good; printf '[[fs.ext4]]\\ndrive=\"b\"\\ntarget=\"/b\"\\n'; } >rum.toml", "rum up -d",
       "names the drive \"b\"", "rum.toml:9:7: error: fs.ext4[0].drive", "there is no [drives.b]"},
      {"a folder to share that there is not",
       "{ good; printf '[[mounts]]\\nsource=\"src\"\\ntarget=\"/src\"\\n'; } >rum.toml",
       "rum up -d", "mounts[0].source must be a folder", "rum.toml:9:8", "there is none at"},
      {"a key's file in place of the key",
       "{ good; printf '[ssh]\\nauthorized_keys=[\"~/.ssh/id.pub\"]\\n'; } >rum.toml", "rum up -d",
       "is the name of a file", "rum.toml:9:18: error: ssh.authorized_keys[0]",
       "put the line that stands in it here"},
      {"an image by http without its checksum", "good http://example.org/a.qcow2 >rum.toml",
       "rum check", "image.sha256 is missing", "rum.toml:2:8",
       "set it to the SHA-256 of the image, or name an https:// URL"},
      {"a URI that libvirt cannot have", "good | sed s,test:///default,qemu:///sytem, >rum.toml",
       "rum up -d", "advanced.libvirt_uri must be qemu:///system", "rum.toml:7:15",
       "LIBVIRT_DEFAULT_URI"},
  };
}

std::vector<Failure> FailuresOfImages() {
  return {
      {"no such image file", "", "rum image pull ./a.qcow2", "there is no file",
       "/no-such-image-file/./a.qcow2", "`rum explain image.base`"},
      {"an image that is a text", "echo '# notes' >a.img", "rum image pull a.img",
       "is not a disk image", "/a.img", "it is a text that begins with"},
      {"an image of another format", "printf 'KDMV\\1\\0\\0\\0%600s' x >a.vmdk",
       "rum image pull a.vmdk", "is not a disk image: it is a VMDK image", "/a.vmdk",
       "convert it with qemu-img"},
      {"the server has no such image", "", "rum image pull $AT/404/a.qcow2",
       "it has no such file; is the URL right", "/404/a.qcow2", "image.base"},
      {"the server wants a login", "", "rum image pull $AT/403/a.qcow2",
       "it wants a login for that", "status 403", "or does not give it to this host"},
      {"the server is in trouble", "", "rum image pull $AT/503/a.qcow2", "that is its own trouble",
       "status 503", "try again later"},
      {"the download broke off", "", "rum image pull $AT/cut/a.qcow2",
       "the connection ended before all had come", "/cut/a.qcow2",
       "the same command goes on from there"},
      {"a page in place of the image", "", "rum image pull $AT/page/a.qcow2", "is not a disk image",
       "a.qcow2", "it is an HTML page"},
      {"another checksum", "", "rum image pull $AT/disk/a.img --sha256 $(printf 'a%.0s' $(seq 64))",
       "its SHA-256 is", "image a.img",
       "another image has taken its place there, or it was changed on the way"},
      {"nobody serves there", "", "rum image pull http://127.0.0.1:9/a.img",
       "nothing takes the connection there", "http://127.0.0.1:9/a.img",
       "is the server up, and the port right?"},
      {"https where http is spoken", "",
       "rum image pull $(echo $AT | sed s/http:/https:/)/disk/a.img",
       "the server speaks no TLS that this host knows", "/disk/a.img", "is it https?"},
      {"a server that nobody knows", "", "rum image pull https://server.invalid/a.img",
       "the name of the server is not known", "https://server.invalid/a.img",
       "is this host online?"},
      {"no such image in the cache", "", "rum image delete debian",
       "no image \"debian\" in the cache", "", "`rum image list` shows all"},
  };
}

std::vector<Failure> FailuresOfMachines() {
  return {
      {"no machine yet", "", "rum exec true", "does not exist", "no-machine-yet",
       "`rum up` makes it"},
      {"a machine that nobody knows", "", "rum -m nobody status", "there is no machine nobody", "",
       "`rum list` shows all"},
      {"a file to copy that there is not", "", "rum cp here.txt :/tmp/",
       "No such file or directory", "here.txt", ""},
      {"no run of that name", "", "rum log --run first", "no run first is kept", "",
       "`rum log --list` shows those that are"},
      {"no consent",
       "{ good; printf '[[mounts]]\\nsource=\"..\"\\ntarget=\"/src\"\\n'; } >rum.toml",
       "rum trust </dev/null", "nothing was consented to", "mounts[/src]", "`rum trust --all`"},
      {"a port that is in use",
       "{ good; printf '[[ports]]\\nhost=7007\\nguest=80\\n'; } >rum.toml; listen 7007; rum -q up "
       "-d >up.log 2>&1 &",
       "until rum status | grep 'in use'; do sleep 0.1; done; false", "in use by",
       "ports[127.0.0.1:7007]", "python3 (pid"},
      {"no forward",
       "rum -q up -d >up.log 2>&1 & until rum status | grep -q ' starting'; do sleep 0.1; done",
       "rum open 80", "the machine has no forwards", "", "`[[ports]]` in its file makes one"},
      {"it is not up in time", "", "rum up -d --timeout 1", "is not up after 1s",
       "it-is-not-up-in-time", "`rum console` shows what the guest does"},
      {"no systemd of the user", "", "rum controller enable",
       "this user has no systemd that answers", "systemctl --user",
       "without it commands start a controller by themselves"},
  };
}

namespace {

// As nobody, with a copy of rum that he can read.
constexpr char kAsNobody[] =
    "mount -t tmpfs -o mode=755 none /run; mkdir -p /run/libvirt /run/h; chown nobody /run/h\n"
    "cp -L $RUM /run/rum; cp -L $CONTROLLER /run/rum-controller; cp -L $RUM_AGENT /run/rum-agent\n"
    "export HOME=/run/h XDG_STATE_HOME=/run/h/s XDG_DATA_HOME=/run/h/d XDG_RUNTIME_DIR=/run/h "
    "RUM_AGENT=/run/rum-agent\n"
    "mkdir /run/h/p; cp rum.toml /run/h/p; cd /run/h/p; chown -R nobody /run/h\n"
    "nobody() { setpriv --reuid=nobody --regid=nogroup --clear-groups /run/rum \"$@\"; }\n";

}  // namespace

std::vector<Failure> FailuresOfHosts() {
  const std::string as_nobody = kAsNobody;
  const std::string of_system = "good | sed s,test:///default,qemu:///system, >rum.toml\n";
  return {
      {"the file is another user's", as_nobody + "chown root rum.toml; chmod 600 rum.toml",
       "nobody up -d", "cannot be read: Permission denied", "rum.toml: error",
       "`ls -l` shows whose it is"},
      {"the state folder is read-only",
       "mkdir -p $STATE; mount -t tmpfs -o mode=700 none $STATE; mount -o remount,ro $STATE",
       "rum up -d", "Read-only file system", "$STATE", "make it writable"},
      {"the state folder is another user's", as_nobody + "mkdir /run/h/s", "nobody up -d",
       "Permission denied", "/run/h/s/rum", "`ls -ld` shows whose it is"},
      {"the disk of the state folder is full",
       "mkdir -p $STATE; mount -t tmpfs -o mode=700,size=16k none $STATE; head -c 12k /dev/zero "
       ">$STATE/fill",
       "rum up -d", "No space left on device", "$STATE", "free some space there"},
      {"the runtime folder's path is too long",
       "export XDG_RUNTIME_DIR=$PWD/$(printf 'x%.0s' $(seq 100)); mkdir -m 700 $XDG_RUNTIME_DIR",
       "rum status", "the path of the controller's socket is too long", "/rum/controller.sock",
       "set RUM_RUNTIME_DIR to a shorter folder"},
      {"the runtime folder is another user's",
       "export XDG_RUNTIME_DIR=$PWD/r; mkdir -m 700 r; chown 9 r", "rum status",
       "belongs to user 9, and this is root", "/r", "set RUM_RUNTIME_DIR to a folder of your own"},
      {"the runtime folder is shared", "export RUM_RUNTIME_DIR=$PWD/r; mkdir r; chmod 1777 r",
       "rum status", "is shared with other users", "/r", "rum needs a folder of its own"},
      {"no runtime folder", as_nobody + "export XDG_RUNTIME_DIR=/run/user/65534", "nobody status",
       "No such file or directory", "/run/user/65534/rum",
       "`rum doctor` looks at all of rum's folders"},
      {"rum-controller is not there", "mkdir alone; cp -L $RUM alone/rum", "alone/rum status",
       "the controller did not start: rum-controller, beside", "/alone/rum or in ../lib/rum",
       "install the package again"},
      {"a second controller", "rum -q list; export XDG_RUNTIME_DIR=$PWD/r; mkdir -m 700 r",
       "rum status", "is in use by another controller", "$STATE",
       "`rum controller stop` with the same ends it"},
      {"the disk of the image cache is full",
       "mkdir c; mount -t tmpfs -o size=64k none c; export RUM_CACHE_DIR=$PWD/c; serve",
       "rum image pull $AT/disk/a.img", "No space left on device", "/c/base/",
       "free some space there"},
      {"the image cache is read-only",
       "mkdir c; mount -t tmpfs none c; mount -o remount,ro c; export RUM_CACHE_DIR=$PWD/c; serve",
       "rum image pull $AT/disk/a.img", "Read-only file system", "/c", "make it writable"},
      {"a proxy that does not answer", "export https_proxy=http://127.0.0.1:9",
       "rum image pull https://server.invalid/a.img", "nothing takes the connection at the proxy",
       "https://server.invalid/a.img", "`rum controller restart`"},
      {"a proxy that nobody knows", "export https_proxy=http://proxy.invalid:3128",
       "rum image pull https://server.invalid/a.img", "the name of the proxy is not known",
       "https://server.invalid/a.img", "https_proxy in the controller's environment"},
      {"no libvirt", "mount -t tmpfs none /run\n" + of_system, "rum up -d",
       "cannot be reached: is libvirtd running there", "libvirt at qemu:///system",
       "`rum doctor` finds out"},
      {"libvirt is not for this user",
       of_system + as_nobody +
           "listen /run/libvirt/libvirt-sock; chmod 600 /run/libvirt/libvirt-sock",
       "nobody up -d", "may this user use it?", "libvirt at qemu:///system",
       "`rum doctor` finds out"},
      {"libvirt of a host that nobody knows",
       "good | sed s,test:///default,qemu+ssh://host.invalid/system, >rum.toml",
       "rum up -d --trust", "the name of that host is not known here",
       "libvirt at qemu+ssh://host.invalid/system", "is this host online?"},
      {"libvirt of a host that does not answer",
       "good | sed s,test:///default,qemu+tcp://127.0.0.1/system, >rum.toml", "rum up -d --trust",
       "cannot be reached: is libvirtd running there", "libvirt at qemu+tcp://127.0.0.1/system",
       "`rum doctor` finds out"},
  };
}

std::vector<Failure> FailuresOfLibvirt() {
  const auto with = [](const std::string& more) {
    return "{ good ../disk.img; printf '" + more + "\\n'; } >rum.toml";
  };
  return {
      {"no such type of machine", with("[advanced]\\nmachine = \"pc-q36\""), "rum up -d --trust",
       "libvirt or QEMU knows no such machine", "definition",
       "advanced.machine = \"q35\" is everywhere"},
      {"no KVM", with("[advanced]\ndomain_type = \"kvm\""), "rum up -d --trust",
       "this host gives QEMU no KVM", "definition",
       "advanced.domain_type = \"auto\" emulates where there is none"},
      {"more memory than the host has", "good ../disk.img | sed 's/512/16000000/' >rum.toml",
       "rum up -d --trust", "this host cannot give the guest that much memory", "start",
       "lower resources.memory_mb"},
      {"more vCPUs than a machine can have",
       "good ../disk.img | sed 's/cpus = 1/cpus = 1000/' >rum.toml", "rum up -d --trust",
       "such a machine has not that many vCPUs", "definition", "lower resources.cpus"},
      {"libvirt has no network default",
       "good ../disk.img >rum.toml; virsh -q net-destroy default >/dev/null 2>&1 || true\n"
       "virsh -q net-undefine default >/dev/null",
       "rum up -d --trust", "libvirt has no network default", "which network.nat needs",
       "`rum doctor` says how it is made"},
  };
}

}  // namespace rum
