#include "agent-api/guest/cpus.h"

#include <algorithm>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/sysfs.h"

namespace rum::guest {
namespace {

constexpr std::chrono::milliseconds kBetweenSights{10};

std::string CpuFolder(const std::string& system) { return system + "/cpu"; }

std::string Switch(const std::string& system, unsigned cpu) {
  return absl::StrCat(CpuFolder(system), "/cpu", cpu, "/online");
}

// Whether `number` is in the kernel's list of ranges, such as "0-2,5".
bool IsListed(const std::string& list, unsigned number) {
  const std::vector<std::string> ranges = absl::StrSplit(list, ',');
  for (const std::string& range : ranges) {
    const std::vector<std::string> ends = absl::StrSplit(range, '-');
    unsigned first = 0;
    unsigned last = 0;
    if (absl::SimpleAtoi(ends.front(), &first) && absl::SimpleAtoi(ends.back(), &last) &&
        first <= number && number <= last) {
      return true;
    }
  }
  return false;
}

struct Cpu {
  unsigned number;
  bool online;
};

// What has no switch cannot go offline: the first, and all where the kernel has no hotplug; or it
// is being plugged, and gets one in a moment.
std::vector<Cpu> Cpus(const std::string& system) {
  std::vector<Cpu> cpus;
  std::string listed;
  for (const unsigned number : NumbersIn(CpuFolder(system), "cpu")) {
    const std::string said = ReadAttribute(Switch(system, number));
    if (!said.empty()) {
      cpus.push_back({number, said != "0"});
      continue;
    }
    if (listed.empty()) listed = ReadAttribute(CpuFolder(system) + "/online");
    if (IsListed(listed, number)) cpus.push_back({number, true});
  }
  return cpus;
}

void AwaitCpus(const std::string& system, uint32_t count, std::chrono::milliseconds patience) {
  const auto limit = std::chrono::steady_clock::now() + patience;
  while (Cpus(system).size() < count && std::chrono::steady_clock::now() < limit) {
    std::this_thread::sleep_for(kBetweenSights);
  }
}

absl::Status BringOnline(const std::string& system, uint32_t count) {
  uint32_t online = CountCpus(system).online;
  absl::Status status;
  for (const Cpu& cpu : Cpus(system)) {
    if (online >= count) return absl::OkStatus();
    if (cpu.online) continue;
    const absl::Status brought = WriteAttribute(Switch(system, cpu.number), "1");
    online += brought.ok() ? 1 : 0;
    status.Update(brought);
  }
  if (online >= count || !status.ok()) return status;
  return absl::AbortedError(absl::StrCat("the kernel in the guest has ", Cpus(system).size(),
                                         " CPUs, ", count, " are to be online"));
}

absl::Status TakeOffline(const std::string& system, uint32_t count) {
  uint32_t online = CountCpus(system).online;
  std::vector<Cpu> cpus = Cpus(system);
  std::reverse(cpus.begin(), cpus.end());
  absl::Status status;
  for (const Cpu& cpu : cpus) {
    if (online <= count || cpu.number == 0) break;
    if (!cpu.online) continue;
    const absl::Status taken = WriteAttribute(Switch(system, cpu.number), "0");
    online -= taken.ok() ? 1 : 0;
    status.Update(taken);
  }
  return online <= count ? absl::OkStatus() : status;
}

}  // namespace

CpuCount CountCpus(const std::string& system) {
  CpuCount count;
  for (const Cpu& cpu : Cpus(system)) {
    ++count.there;
    count.online += cpu.online ? 1 : 0;
  }
  return count;
}

absl::Status SetOnlineCpus(const std::string& system, uint32_t count,
                           std::chrono::milliseconds patience) {
  if (count == 0) return absl::InvalidArgumentError("no guest goes on without a CPU");
  static std::mutex mutex;
  const std::lock_guard<std::mutex> guard(mutex);
  AwaitCpus(system, count, patience);
  return CountCpus(system).online < count ? BringOnline(system, count) : TakeOffline(system, count);
}

}  // namespace rum::guest
