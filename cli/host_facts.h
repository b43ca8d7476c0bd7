#ifndef RUM_CLI_HOST_FACTS_H_
#define RUM_CLI_HOST_FACTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controller/hypervisor/host_look.pb.h"

namespace rum {

// What `rum doctor` saw, without any judgement: host_judgement.h has those.

// Whether something that is opened or connected to could be.
enum class Access { kAbsent, kNobodyListens, kForbidden, kOpen };

struct Who {
  std::string name;  // of the user; its number where it has none
  uint32_t id = 0;
  std::vector<std::string> distribution;  // ID and ID_LIKE of os-release
  bool systemd = false;                   // runs this host
};

struct KvmFacts {
  enum class State {
    kAbsent,     // no /dev/kvm, or nothing behind it
    kForbidden,  // may not be opened
    kNoMachine,  // opens, and makes no virtual machine
    kNoRun,      // makes one whose CPU does not run
    kRuns,
  };
  State state = State::kAbsent;
  bool cpu_virtualizes = false;  // vmx or svm; without them rum leaves /dev/kvm alone
  std::string group;             // of /dev/kvm
};

struct ProgramFacts {
  std::string path;  // empty: it is not there
  std::string version;
};

struct SocketFacts {
  std::string path;
  Access access = Access::kAbsent;
  std::string group;
};

struct LibvirtFacts {
  std::string uri;
  bool wanted = false;     // machines are made there, if nobody says otherwise
  bool installed = false;  // the daemon's program is there
  bool modular = false;    // it is virtqemud
  SocketFacts socket;      // of qemu:///system; else without a path
  // Empty where rum-controller could not be asked, for which `controller` has the reason.
  std::optional<control::LibvirtLook> look;
  bool hangs = false;
  std::optional<uint64_t> free_bytes;  // where its disks would be
};

// A folder that rum needs, and makes.
struct FolderFacts {
  enum class Problem { kNone, kReadOnly, kForbidden, kNoFolder };
  std::string what;      // "state"
  std::string variable;  // "RUM_STATE_DIR"
  std::string path;
  std::string nearest;  // the part of it that is there
  Problem problem = Problem::kNone;
  std::string mount_point;  // of a read-only one
  std::optional<uint64_t> free_bytes;
};

struct RuntimeFacts {
  FolderFacts folder;   // of the controller's socket
  bool named = false;   // XDG_RUNTIME_DIR or RUM_RUNTIME_DIR is set
  std::string usual;    // /run/user/N where that is there and ours; else empty
  std::string socket;   // of the controller
  std::string foreign;  // why its folder is not ours, and what to do; empty: it is
};

struct ControllerFacts {
  enum class State { kNotRunning, kRuns, kSilent };
  std::string program;  // empty: rum-controller was not found
  std::string broken;   // why it does not start
  std::string looked_for;
  std::string agent;  // empty: none was found
  std::string agent_version;
  State state = State::kNotRunning;
  std::string why;      // of kSilent
  std::string version;  // of the one that runs
  bool outdated = false;
};

struct InotifyFacts {
  uint64_t most_watches = 0;  // 0: not known
  uint64_t watches = 0;       // of all processes of the user's that can be looked at
  uint64_t most_instances = 0;
  uint64_t instances = 0;
};

struct ServiceFacts {
  bool unit = false;
  bool enabled = false;
  bool lingers = false;
};

struct ClockFacts {
  int64_t now_s = 0;
  int64_t program_s = 0;  // when rum's program was written
  bool synchronized = true;
};

struct CgroupFacts {
  enum class Kind { kNone, kFirst, kUnified };
  Kind kind = Kind::kNone;
  bool writable_for_root = true;         // else a container's view
  std::optional<std::string> delegated;  // controllers of the user's own service manager
};

struct SecurityFacts {
  bool apparmor = false;
  bool selinux = false;  // it enforces
  bool log_readable = false;
  int denials = 0;  // of guests, in the kernel's log
  std::string last_denial;
};

struct HostFacts {
  Who who;
  KvmFacts kvm;
  ProgramFacts qemu;
  ProgramFacts virtiofsd;
  std::vector<LibvirtFacts> libvirts;
  RuntimeFacts runtime;
  std::vector<FolderFacts> folders;
  ControllerFacts controller;
  InotifyFacts inotify;
  ServiceFacts service;
  ClockFacts clock;
  CgroupFacts cgroup;
  SecurityFacts security;
};

}  // namespace rum

#endif  // RUM_CLI_HOST_FACTS_H_
