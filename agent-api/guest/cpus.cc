#include "agent-api/guest/cpus.h"

#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/sysfs.h"
#include "agent-api/guest/text_file.h"

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

// What has no switch cannot go offline: the first, and all where the kernel has no hotplug; or it
// is being plugged, and gets one in a moment.
bool IsOnline(const std::string& system, unsigned cpu) {
  const std::string said = FirstLine(ReadFile(Switch(system, cpu)));
  if (!said.empty()) return said != "0";
  return IsListed(FirstLine(ReadFile(CpuFolder(system) + "/online")), cpu);
}

std::vector<unsigned> Cpus(const std::string& system) {
  std::vector<unsigned> cpus;
  for (const unsigned cpu : NumbersIn(CpuFolder(system), "cpu")) {
    if (access(Switch(system, cpu).c_str(), F_OK) == 0 || IsOnline(system, cpu))
      cpus.push_back(cpu);
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
  uint32_t online = OnlineCpus(system);
  absl::Status status;
  for (const unsigned cpu : Cpus(system)) {
    if (online >= count) return absl::OkStatus();
    if (IsOnline(system, cpu)) continue;
    const absl::Status brought = WriteAttribute(Switch(system, cpu), "1");
    online += brought.ok() ? 1 : 0;
    status.Update(brought);
  }
  if (online >= count || !status.ok()) return status;
  return absl::AbortedError(absl::StrCat("the kernel in the guest has ", Cpus(system).size(),
                                         " CPUs, ", count, " are to be online"));
}

absl::Status TakeOffline(const std::string& system, uint32_t count) {
  uint32_t online = OnlineCpus(system);
  std::vector<unsigned> cpus = Cpus(system);
  std::reverse(cpus.begin(), cpus.end());
  absl::Status status;
  for (const unsigned cpu : cpus) {
    if (online <= count || cpu == 0) break;
    if (!IsOnline(system, cpu)) continue;
    const absl::Status taken = WriteAttribute(Switch(system, cpu), "0");
    online -= taken.ok() ? 1 : 0;
    status.Update(taken);
  }
  return online <= count ? absl::OkStatus() : status;
}

}  // namespace

uint32_t OnlineCpus(const std::string& system) {
  uint32_t online = 0;
  for (const unsigned cpu : Cpus(system)) online += IsOnline(system, cpu) ? 1 : 0;
  return online;
}

uint32_t CpusThere(const std::string& system) { return static_cast<uint32_t>(Cpus(system).size()); }

absl::Status SetOnlineCpus(const std::string& system, uint32_t count,
                           std::chrono::milliseconds patience) {
  if (count == 0) return absl::InvalidArgumentError("no guest goes on without a CPU");
  static std::mutex mutex;
  const std::lock_guard<std::mutex> guard(mutex);
  AwaitCpus(system, count, patience);
  return OnlineCpus(system) < count ? BringOnline(system, count) : TakeOffline(system, count);
}

}  // namespace rum::guest
