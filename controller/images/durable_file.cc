#include "controller/images/durable_file.h"

#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "state/file.h"

namespace rum {

absl::Status WriteAt(int fd, int64_t offset, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = pwrite(fd, bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return DiskError(errno, path);
    bytes.remove_prefix(static_cast<size_t>(n));
    offset += n;
  }
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
  return ReplaceFile(path, json);
}

absl::Status LoadJson(const std::string& path, google::protobuf::Message* message) {
  const absl::StatusOr<std::string> json = ReadFile(path);
  if (!json.ok()) {
    return absl::Status(json.status().code(),
                        absl::StrCat(path, ": ", std::string(json.status().message())));
  }
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // of a newer rum
  return google::protobuf::util::JsonStringToMessage(*json, message, options).ok()
             ? absl::OkStatus()
             : absl::DataLossError(absl::StrCat(path, " is damaged"));
}

}  // namespace rum
