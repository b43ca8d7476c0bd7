#include "controller/images/durable_file.h"

#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "controller/listeners/fd.h"
#include "state/file.h"

namespace rum {

absl::Status WriteAt(int fd, int64_t offset, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = pwrite(fd, bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::ErrnoToStatus(errno, path);
    bytes.remove_prefix(static_cast<size_t>(n));
    offset += n;
  }
  return absl::OkStatus();
}

absl::Status SyncFile(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok() || fsync(fd.get()) != 0) return absl::ErrnoToStatus(errno, path);
  return absl::OkStatus();
}

absl::Status SaveJson(const google::protobuf::Message& message, const std::string& path) {
  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  if (!google::protobuf::util::MessageToJsonString(message, &json, options).ok()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": its text is not valid UTF-8"));
  }
  const std::string temporary = path + ".new";
  {
    const Fd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd.ok()) return absl::ErrnoToStatus(errno, temporary);
    if (absl::Status status = WriteAt(fd.get(), 0, json, temporary); !status.ok()) return status;
    if (fsync(fd.get()) != 0) return absl::ErrnoToStatus(errno, temporary);
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) return absl::ErrnoToStatus(errno, path);
  return SyncFile(std::filesystem::path(path).parent_path());
}

bool LoadJson(const std::string& path, google::protobuf::Message* message) {
  const absl::StatusOr<std::string> json = ReadFile(path);
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // of a newer rum
  return json.ok() && google::protobuf::util::JsonStringToMessage(*json, message, options).ok();
}

}  // namespace rum
