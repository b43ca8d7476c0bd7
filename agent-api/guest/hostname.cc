#include "agent-api/guest/hostname.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent-api/guest/hosts_file.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

constexpr size_t kMostOfAName = 300;
constexpr size_t kMostOfItsFile = 64 << 10;

std::string KernelName() {
  utsname names{};
  uname(&names);
  return names.nodename;
}

absl::Status SetInHosts(const std::string& hostname, const std::vector<std::string>& before) {
  const absl::StatusOr<std::string> hosts = ReadFileToEdit("/etc/hosts");
  if (!hosts.ok() && !absl::IsNotFound(hosts.status())) return hosts.status();
  const std::string wanted = WithOwnName(hosts.ok() ? *hosts : "", hostname, before);
  if (hosts.ok() && wanted == *hosts) return absl::OkStatus();
  return WriteFileAtomically("/etc/hosts", wanted, 0644);
}

absl::Status SetStatic(const std::string& hostname) {
  if (StaticHostname() == hostname) return absl::OkStatus();
  return WriteFileAtomically("/etc/hostname", hostname + "\n", 0644);
}

absl::Status SetInKernel(const std::string& name) {
  if (sethostname(name.data(), name.size()) == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("sethostname: ", std::strerror(errno)));
}

}  // namespace

std::string StaticHostname() {
  return FirstLine(ReadFile("/etc/hostname", kMostOfItsFile)).substr(0, kMostOfAName);
}

absl::Status SetHostname(const std::string& hostname) {
  // The kernel holds 64 bytes; a longer name keeps its first label there.
  const std::string kernel_name =
      hostname.size() <= 64 ? hostname : hostname.substr(0, hostname.find('.'));
  const auto plain = [](unsigned char c) { return c > ' ' && c < 0x7f && c != '/' && c != '#'; };
  if (hostname.empty() || hostname[0] == '.' || kernel_name.size() > 64 || hostname.size() > 253 ||
      !std::all_of(hostname.begin(), hostname.end(), plain)) {
    return absl::InvalidArgumentError(absl::StrCat("not a hostname: \"", hostname, "\""));
  }
  static std::mutex mutex;
  const std::lock_guard<std::mutex> guard(mutex);
  // The table first: it is by the other two that the old names are known.
  const std::vector<std::string> before = {StaticHostname(), KernelName()};
  std::vector<std::string> failures;
  for (const absl::Status& status :
       {SetInHosts(hostname, before), SetStatic(hostname), SetInKernel(kernel_name)}) {
    if (!status.ok()) failures.push_back(std::string(status.message()));
  }
  if (failures.empty()) return absl::OkStatus();
  return absl::InternalError(absl::StrJoin(failures, "; "));
}

}  // namespace rum::guest
