#include "cli/last_lines.h"

#include "absl/strings/str_cat.h"

namespace rum {
namespace {

constexpr size_t kMostLines = 5;
constexpr size_t kMostLine = 1000;  // bytes kept of a line that does not end
constexpr char kMargin[] = "      ";

// A line that is wrapped would count twice when it is taken away. Bytes are at least characters.
std::string Cut(const std::string& line, size_t width) {
  size_t bytes = 0;
  size_t characters = sizeof kMargin;
  while (bytes < line.size() && characters < width) {
    ++bytes;
    while (bytes < line.size() && (line[bytes] & 0xC0) == 0x80) ++bytes;
    ++characters;
  }
  return line.substr(0, bytes);
}

}  // namespace

std::string LastLines::Next(const std::string& bytes, size_t width) {
  for (const char c : text_.Next(bytes)) {
    if (!open_) {
      lines_.emplace_back();
      if (lines_.size() > kMostLines) lines_.pop_front();
    }
    open_ = c != '\n';
    if (open_ && lines_.back().size() < kMostLine) lines_.back() += c == '\t' ? ' ' : c;
  }
  std::string out = Erase();
  for (const std::string& line : lines_) absl::StrAppend(&out, kMargin, Cut(line, width), "\n");
  shown_ = lines_.size();
  return out;
}

std::string LastLines::Erase() {
  std::string out;
  for (; shown_ > 0; --shown_) out += "\033[1A\r\033[K";
  return out;
}

}  // namespace rum
