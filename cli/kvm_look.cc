#include "cli/kvm_look.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/match.h"

namespace rum {
namespace {

using State = KvmFacts::State;

constexpr int kKvmPatienceMs = 20000;  // for what takes less than one

#if defined(__x86_64__)
constexpr uint64_t kPage = 4096;
constexpr uint8_t kHalt = 0xf4;

// One page of memory with one instruction, and a CPU that is to run it in real mode.
bool RunsOneInstruction(int kvm, int machine) {
  void* memory = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  static_cast<uint8_t*>(memory)[0] = kHalt;
  ioctl(machine, KVM_SET_TSS_ADDR, 0xfffbd000);  // Intel's older CPUs want a place for it
  kvm_userspace_memory_region region{};
  region.guest_phys_addr = kPage;
  region.memory_size = kPage;
  region.userspace_addr = reinterpret_cast<uint64_t>(memory);
  if (ioctl(machine, KVM_SET_USER_MEMORY_REGION, &region) != 0) return false;
  const int cpu = ioctl(machine, KVM_CREATE_VCPU, 0);
  const int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (cpu < 0 || size < static_cast<int>(sizeof(kvm_run))) return false;
  void* shared =
      mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
  kvm_sregs special{};
  if (shared == MAP_FAILED || ioctl(cpu, KVM_GET_SREGS, &special) != 0) return false;
  special.cs.base = 0;
  special.cs.selector = 0;
  kvm_regs registers{};
  registers.rip = kPage;
  registers.rflags = 2;
  if (ioctl(cpu, KVM_SET_SREGS, &special) != 0 || ioctl(cpu, KVM_SET_REGS, &registers) != 0)
    return false;
  return ioctl(cpu, KVM_RUN, 0) == 0 && static_cast<kvm_run*>(shared)->exit_reason == KVM_EXIT_HLT;
}
#else
// What can be known of other CPUs without their boot code.
bool RunsOneInstruction(int, int machine) { return ioctl(machine, KVM_CREATE_VCPU, 0) >= 0; }
#endif

State Try() {
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) return errno == EACCES || errno == EPERM ? State::kForbidden : State::kAbsent;
  if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) return State::kNoMachine;
  const int machine = ioctl(kvm, KVM_CREATE_VM, 0);
  if (machine < 0) return State::kNoMachine;
  return RunsOneInstruction(kvm, machine) ? State::kRuns : State::kNoRun;
}

bool CpuVirtualizes() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!absl::StartsWith(line, "flags")) continue;
    line += ' ';
    return absl::StrContains(line, " vmx ") || absl::StrContains(line, " svm ");
  }
  return false;
}

}  // namespace

KvmFacts LookAtKvm() {
  KvmFacts facts;
  facts.cpu_virtualizes = CpuVirtualizes();
  const pid_t child = fork();
  if (child == 0) _exit(static_cast<int>(Try()));
  const int process = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
  pollfd over{process, POLLIN, 0};
  const bool ended = process < 0 || poll(&over, 1, kKvmPatienceMs) == 1;
  if (!ended) kill(child, SIGKILL);
  if (process >= 0) close(process);
  int status = 0;
  const bool waited = child > 0 && waitpid(child, &status, 0) == child;
  const bool told =
      waited && ended && WIFEXITED(status) && WEXITSTATUS(status) <= static_cast<int>(State::kRuns);
  facts.state = told ? static_cast<State>(WEXITSTATUS(status)) : State::kNoRun;
  return facts;
}

}  // namespace rum
