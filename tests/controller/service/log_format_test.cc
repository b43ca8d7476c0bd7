#include "controller/service/log_format.h"

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <sstream>

namespace rum {
namespace {

TEST(LogFormat, AMessageIsOneLineThatATerminalDoesNotObey) {
  std::ostringstream out;
  spdlog::logger log("rum", std::make_shared<spdlog::sinks::ostream_sink_mt>(out));
  log.set_formatter(MakeLogFormat());
  log.warn("action failed machine={} error=\"{}\"", "dev",
           "\x1b]0;pwned\x07\n[2026-01-01] [rum] [info] forged\r\x9b\u202e größe");
  const std::string text = out.str();
  EXPECT_NE(text.find("] [rum] [warning] action failed machine=dev error=\"\\x1b]0;pwned\\x07\\n["
                      "2026-01-01] [rum] [info] forged\\r\\x9b\\u202e größe\"\n"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find('\n'), text.size() - 1);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace rum
