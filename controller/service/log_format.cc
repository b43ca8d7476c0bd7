#include "controller/service/log_format.h"

#include <spdlog/pattern_formatter.h>

#include <string>

#include "controller/base/shown_text.h"

namespace rum {
namespace {

class ShownMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& line) override {
    const std::string text =
        OneLine(std::string(message.payload.data(), message.payload.size()), true);
    line.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<ShownMessage>();
  }
};

}  // namespace

std::unique_ptr<spdlog::formatter> MakeLogFormat() {
  auto format = std::make_unique<spdlog::pattern_formatter>();
  format->add_flag<ShownMessage>('*').set_pattern("[%Y-%m-%d %H:%M:%S.%e] [%n] [%^%l%$] %*");
  return format;
}

}  // namespace rum
