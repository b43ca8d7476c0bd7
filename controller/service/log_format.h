#ifndef RUM_CONTROLLER_SERVICE_LOG_FORMAT_H_
#define RUM_CONTROLLER_SERVICE_LOG_FORMAT_H_

#include <spdlog/spdlog.h>

#include <memory>

namespace rum {

// Writes each message of the log as one line of its own, whatever guests and files put into it: a
// reader's terminal obeys none of it.
std::unique_ptr<spdlog::formatter> MakeLogFormat();

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_LOG_FORMAT_H_
