#include "agent-api/guest/hostname.h"

#include <unistd.h>

#include <algorithm>
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

bool NamesHost(const std::string& hosts, const std::string& hostname) {
  std::istringstream lines(hosts);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string word;
    words >> word;  // the address
    while (words >> word) {
      if (word == hostname) return true;
    }
  }
  return false;
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
  if (FirstLine(ReadFile("/etc/hostname")) != hostname) {
    const absl::Status status = WriteFileAtomically("/etc/hostname", hostname + "\n", 0644);
    if (!status.ok()) return status;
  }
  const absl::StatusOr<std::string> hosts = ReadFileToEdit("/etc/hosts");
  if (!hosts.ok() && !absl::IsNotFound(hosts.status())) return hosts.status();
  const std::string wanted = WithOwnName(hosts.ok() ? *hosts : "", hostname);
  if (!hosts.ok() || wanted != *hosts) {
    const absl::Status status = WriteFileAtomically("/etc/hosts", wanted, 0644);
    if (!status.ok()) return status;
  }
  if (sethostname(kernel_name.data(), kernel_name.size()) != 0) {
    return absl::InternalError(absl::StrCat("sethostname: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace rum::guest
