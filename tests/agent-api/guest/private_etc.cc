#include "tests/agent-api/guest/private_etc.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace rum {
namespace {

void Must(int result, const char* what) {
  if (result == 0) return;
  std::fprintf(stderr, "%s: %s: these tests need root and namespaces\n", what,
               std::strerror(errno));
  std::exit(1);
}

void Fill(const std::string& path, mode_t mode, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
  Must(chmod(path.c_str(), mode), path.c_str());
}

}  // namespace

void EnterPrivateEtc() {
  std::ifstream cache("/etc/ld.so.cache", std::ios::binary);
  const std::string libraries{std::istreambuf_iterator<char>(cache), {}};
  Must(unshare(CLONE_NEWUTS | CLONE_NEWNS), "unshare");
  Must(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount --make-rprivate /");
  Must(mount("tmpfs", "/etc", "tmpfs", 0, "mode=755"), "mount a tmpfs on /etc");
  Must(mount("tmpfs", "/home", "tmpfs", 0, "mode=755"), "mount a tmpfs on /home");
  Fill("/etc/ld.so.cache", 0644, libraries);
  FillEtc();
}

void FillEtc() {
  for (const char* name : {"/etc/group", "/etc/gshadow", "/etc/hosts", "/etc/hostname",
                           "/etc/group.lock", "/etc/gshadow.lock"}) {
    std::filesystem::remove_all(name);
  }
  Fill("/etc/passwd", 0644,
       "root:x:0:0:root:/root:/bin/bash\n"
       "dev:x:1000:1000:Dev:/home/dev:/bin/sh\n"
       "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n");
  Fill("/etc/group", 0644,
       "root:x:0:\nadm:x:4:syslog,dev\nvideo:x:44:\ndocker:x:998:other\ndev:x:1000:\n"
       "nogroup:x:65534:\n");
  Fill("/etc/gshadow", 0640,
       "root:*::\nadm:*::syslog,dev\nvideo:*::\ndocker:!:boss:other\ndev:!::\nnogroup:*::\n");
  Must(chown("/etc/gshadow", 0, 42), "chown /etc/gshadow");
  Fill("/etc/hostname", 0644, "old\n");
  Fill("/etc/hosts", 0644,
       "# made by hand\n127.0.0.1\tlocalhost\n127.0.1.1\told\n\n10.0.0.5  db db.lan # old\n"
       "::1\tlocalhost ip6-localhost\n");
  std::filesystem::remove_all("/home/dev");
  Must(mkdir("/home/dev", 0700), "mkdir /home/dev");
  Must(chown("/home/dev", 1000, 1000), "chown /home/dev");
  Must(sethostname("old", 3), "sethostname");
}

void ProtectRoot() {
  for (const char* name : {"TEST_TMPDIR", "XML_OUTPUT_FILE", "TEST_UNDECLARED_OUTPUTS_DIR"}) {
    const char* value = std::getenv(name);
    if (value == nullptr) continue;
    std::filesystem::path folder = value;
    if (!std::filesystem::is_directory(folder)) folder = folder.parent_path();
    if (!std::filesystem::is_directory(folder)) continue;
    Must(mount(folder.c_str(), folder.c_str(), nullptr, MS_BIND, nullptr), folder.c_str());
  }
  Must(mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr),
       "mount --read-only /");
}

std::string KernelHostname() {
  utsname names{};
  uname(&names);
  return names.nodename;
}

}  // namespace rum
