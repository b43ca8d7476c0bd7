#ifndef RUM_CLI_HOST_CURES_H_
#define RUM_CLI_HOST_CURES_H_

#include <initializer_list>
#include <string>

#include "cli/doctor.pb.h"
#include "cli/host_facts.h"

namespace rum {

// How findings are put together, and the commands that several of them share.

doctor::Finding Fine(const std::string& check, const std::string& seen);
// Makes a finding of a level that asks for something.
doctor::Finding Ails(const std::string& check, doctor::Finding::Level level,
                     const std::string& seen, const std::string& breaks,
                     std::initializer_list<std::string> cures);

// The command that installs libvirt with QEMU on a distribution; with "# " before it a hint for
// those that are not known.
std::string InstallLibvirt(const Who& who);
// Makes the user one of the group, and this shell too.
std::string JoinGroup(const std::string& group, const Who& who);

}  // namespace rum

#endif  // RUM_CLI_HOST_CURES_H_
