#include "agent-api/guest/hostname.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {

std::string WithOwnName(const std::string& hosts, const std::string& hostname) {
  const size_t dot = hostname.find('.');
  const std::string own =
      absl::StrCat("127.0.1.1\t", hostname,
                   dot == std::string::npos ? "" : "\t" + hostname.substr(0, dot), "\n");
  std::istringstream lines(hosts);
  std::string out;
  std::string after_loopback;  // what follows the line of 127.0.0.1, should 127.0.1.1 have none
  bool loopback = false;
  bool replaced = false;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string address;
    words >> address;
    if (address == "127.0.1.1") {
      if (!replaced) (loopback ? after_loopback : out) += own;
      replaced = true;
      continue;
    }
    (loopback ? after_loopback : out) += line + "\n";
    loopback = loopback || address == "127.0.0.1";
  }
  return replaced ? out + after_loopback : out + own + after_loopback;
}

absl::Status SetHostname(const std::string& hostname) {
  if (hostname.empty() || hostname.size() > 253 ||
      hostname.find_first_of(" \t\n/") != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("not a hostname: \"", hostname, "\""));
  }
  // The kernel holds 64 bytes; a longer name keeps its first label there.
  const std::string kernel_name =
      hostname.size() <= 64 ? hostname : hostname.substr(0, hostname.find('.'));
  if (FirstLine(ReadFile("/etc/hostname")) != hostname) {
    const absl::Status status = WriteFileAtomically("/etc/hostname", hostname + "\n", 0644);
    if (!status.ok()) return status;
  }
  const std::string hosts = ReadFile("/etc/hosts");
  const std::string wanted = WithOwnName(hosts, hostname);
  if (wanted != hosts) {
    const absl::Status status = WriteFileAtomically("/etc/hosts", wanted, 0644);
    if (!status.ok()) return status;
  }
  if (sethostname(kernel_name.data(), kernel_name.size()) != 0) {
    return absl::InternalError(absl::StrCat("sethostname: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace rum::guest
