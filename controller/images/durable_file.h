#ifndef RUM_CONTROLLER_IMAGES_DURABLE_FILE_H_
#define RUM_CONTROLLER_IMAGES_DURABLE_FILE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace rum {

// All of these name the path; a full disk is ResourceExhausted (state/file.h).

absl::Status WriteAt(int fd, int64_t offset, std::string_view bytes, const std::string& path);
// Replaces the file as a whole with the message's JSON.
absl::Status SaveJson(const google::protobuf::Message& message, const std::string& path);
// NotFound: there is none. DataLoss: it is not whole. Internal: it cannot be read now.
absl::Status LoadJson(const std::string& path, google::protobuf::Message* message);

}  // namespace rum

#endif  // RUM_CONTROLLER_IMAGES_DURABLE_FILE_H_
