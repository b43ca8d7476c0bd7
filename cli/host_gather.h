#ifndef RUM_CLI_HOST_GATHER_H_
#define RUM_CLI_HOST_GATHER_H_

#include <string>

#include "cli/host_facts.h"

namespace rum {

// Looks at this host as its user sees it: /proc, /sys, /run, sockets that are connected to and
// closed again, and libvirt through rum-controller. Changes nothing; a libvirtd of
// qemu:///session may start for it, as for any other client. `wanted_uri`: the libvirt in which
// machines are made; empty: as libvirt itself chooses. All but `controller`'s process.
HostFacts GatherHostFacts(const std::string& wanted_uri);

// Names of accounts and groups by /etc/passwd and /etc/group: a static program asks no other name
// service. The number where there is none.
std::string UserName(uint32_t id);
std::string GroupName(uint32_t id);

// Parts of it that have files of their own.
void GatherLibvirts(const std::string& wanted_uri, HostFacts* facts);
void GatherKernel(HostFacts* facts);  // inotify, clock, cgroups, AppArmor, SELinux

// What a program prints and how it ends, waited for `patience_ms`.
struct Printed {
  int status = -1;  // exit status; -1: it did not start, was killed or was too slow
  bool late = false;
  std::string out;
  std::string err;
};
Printed Run(const std::vector<std::string>& words, int patience_ms);

}  // namespace rum

#endif  // RUM_CLI_HOST_GATHER_H_
