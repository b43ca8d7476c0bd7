#include "controller/hypervisor/backing_chain.h"

#include <fcntl.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent-api/first_line.h"
#include "controller/base/fd.h"

namespace rum {
namespace {

using google::protobuf::Struct;

// Runs argv; what it printed, errors among it, or why it could not be run.
absl::StatusOr<std::string> OutputOf(std::vector<std::string> words, int* exit_status) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "starting " + words[0]);
  const Fd output(ends[0]);
  Fd input(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  for (int fd : {1, 2}) posix_spawn_file_actions_adddup2(&actions, input.get(), fd);
  pid_t pid = -1;
  const int failed = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return absl::ErrnoToStatus(failed, "starting " + words[0]);
  input = Fd();
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(output.get(), buffer, sizeof(buffer))) != 0;) {
    if (n < 0 && errno != EINTR) break;
    if (n > 0) text.append(buffer, n);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  *exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return text;
}

std::string TextOf(const Struct& image, const char* name) {
  const auto found = image.fields().find(name);
  return found == image.fields().end() ? "" : found->second.string_value();
}

// The file with the data of an image that keeps its tables apart.
std::string DataFile(const Struct& image) {
  const auto specific = image.fields().find("format-specific");
  if (specific == image.fields().end()) return "";
  const Struct& fields = specific->second.struct_value();
  const auto data = fields.fields().find("data");
  return data == fields.fields().end() ? "" : TextOf(data->second.struct_value(), "data-file");
}

}  // namespace

std::string RealPath(const std::string& path, bool remote) {
  const std::filesystem::path given = std::filesystem::path(path).lexically_normal();
  if (remote || !given.is_absolute()) return given.string();
  std::error_code error;
  const std::filesystem::path real = std::filesystem::weakly_canonical(given, error);
  return error ? given.string() : real.string();
}

absl::StatusOr<std::set<std::string>> ReadFilesBelow(const std::string& json) {
  Struct image;
  if (!google::protobuf::util::JsonStringToMessage(json, &image).ok()) {
    return absl::InvalidArgumentError("qemu-img did not say what it is");
  }
  std::set<std::string> below;
  std::string backing = TextOf(image, "full-backing-filename");
  if (backing.empty()) backing = TextOf(image, "backing-filename");
  const std::filesystem::path folder =
      std::filesystem::path(TextOf(image, "filename")).parent_path();
  for (const std::string& name : {backing, DataFile(image)}) {
    if (name.empty()) continue;
    const bool local = name.find(':') == std::string::npos;  // else a protocol
    below.insert(local ? (folder / name).lexically_normal().string() : name);
  }
  return below;
}

absl::StatusOr<std::set<std::string>> FilesBelow(const std::string& path) {
  // -U: also of an image that is in use.
  int exit_status = 0;
  const absl::StatusOr<std::string> output =
      OutputOf({"qemu-img", "info", "--output=json", "-U", "--", path}, &exit_status);
  if (!output.ok()) return output.status();
  if (exit_status != 0) {
    const std::string first = FirstLine(*output);
    return absl::FailedPreconditionError(
        first.empty() ? absl::StrCat(path, ": qemu-img ended with ", exit_status) : first);
  }
  absl::StatusOr<std::set<std::string>> below = ReadFilesBelow(*output);
  if (below.ok()) return below;
  return absl::Status(below.status().code(),
                      absl::StrCat(path, ": ", std::string(below.status().message())));
}

}  // namespace rum
