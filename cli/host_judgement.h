#ifndef RUM_CLI_HOST_JUDGEMENT_H_
#define RUM_CLI_HOST_JUDGEMENT_H_

#include <string>
#include <vector>

#include "cli/doctor.pb.h"
#include "cli/host_facts.h"

namespace rum {

using doctor::Finding;

// What `rum doctor` says of what was seen. Pure; each finds one thing, and says of it what was
// seen, what goes wrong for it, and the commands that cure it.
Finding JudgeKvm(const KvmFacts& kvm, const Who& who);
Finding JudgeQemu(const ProgramFacts& qemu, const Who& who);
// Needed by shared folders under qemu:///system alone.
Finding JudgeVirtiofsd(const ProgramFacts& virtiofsd, bool system_wanted, const Who& who);
Finding JudgeLibvirt(const LibvirtFacts& libvirt, const Who& who);
// Nothing where the network cannot be asked for.
std::vector<Finding> JudgeDefaultNetwork(const LibvirtFacts& libvirt);
std::vector<Finding> JudgeDiskSpace(const LibvirtFacts& libvirt, const FolderFacts& cache);
Finding JudgeRuntime(const RuntimeFacts& runtime, const Who& who);
Finding JudgeFolder(const FolderFacts& folder, const Who& who);
Finding JudgeProgram(const ControllerFacts& controller, const Who& who);
Finding JudgeAgent(const ControllerFacts& controller);
Finding JudgeController(const ControllerFacts& controller);
Finding JudgeInotify(const InotifyFacts& inotify);
Finding JudgeService(const ServiceFacts& service, const Who& who);
Finding JudgeClock(const ClockFacts& clock, const Who& who);
Finding JudgeCgroup(const CgroupFacts& cgroup, bool system_wanted);
Finding JudgeSecurity(const SecurityFacts& security);

// All of them, in the order in which a person cures them.
doctor::Report JudgeHost(const HostFacts& facts);

// Adds a finding, and takes it into account.
void AddFinding(const Finding& finding, doctor::Report* report);

// 0: fine; 4: something is to be done, and rum works; 1: something is broken.
int ExitCode(const doctor::Report& report);

}  // namespace rum

#endif  // RUM_CLI_HOST_JUDGEMENT_H_
