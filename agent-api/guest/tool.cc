#include "agent-api/guest/tool.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/spawn.h"

namespace rum::guest {
namespace {

constexpr char kPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

}  // namespace

bool HasTool(const std::string& name) {
  // Where it was last is looked at first: it is asked of at each look at the guest.
  static std::mutex mutex;
  static auto* const places = new std::map<std::string, std::string>();
  const std::lock_guard<std::mutex> guard(mutex);
  std::string& place = (*places)[name];
  if (!place.empty() && access(place.c_str(), X_OK) == 0) return true;
  for (const absl::string_view folder : absl::StrSplit(kPath, ':')) {
    place = absl::StrCat(folder, "/", name);
    if (access(place.c_str(), X_OK) == 0) return true;
  }
  place.clear();
  return false;
}

absl::Status RunTool(const std::vector<std::string>& argv) {
  int output[2];
  if (pipe2(output, O_CLOEXEC) != 0) {
    return absl::InternalError(absl::StrCat("starting ", argv[0], ": ", std::strerror(errno)));
  }
  SpawnRequest request;
  request.argv = argv;
  request.environment = {absl::StrCat("PATH=", kPath), "LC_ALL=C"};
  request.stdout_fd = request.stderr_fd = output[1];
  const absl::StatusOr<Child> child = Spawn(request);
  close(output[1]);
  if (!child.ok()) {
    close(output[0]);
    if (!absl::IsNotFound(child.status())) return child.status();
    return absl::UnimplementedError(absl::StrCat("the guest has no ", argv[0]));
  }
  std::string said;
  char buffer[4096];
  for (ssize_t n; (n = read(output[0], buffer, sizeof buffer)) != 0;) {
    if (n < 0 && errno != EINTR) break;
    if (n > 0) said.append(buffer, static_cast<size_t>(n));
  }
  close(output[0]);
  const Exit end = Reap(*child);
  if (end.well()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      absl::StrJoin(argv, " "), end.signal != 0 ? " ended by signal " : " ended with ",
      end.signal != 0 ? end.signal : end.exit_status, ": ", absl::StripAsciiWhitespace(said)));
}

}  // namespace rum::guest
