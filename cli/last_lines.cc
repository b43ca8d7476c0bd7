#include "cli/last_lines.h"

namespace rum {
namespace {

constexpr size_t kMostLines = 5;
constexpr size_t kMostLine = 1000;  // bytes kept of a line that does not end

}  // namespace

void LastLines::Add(const std::string& bytes) {
  for (const char c : text_.Next(bytes)) {
    if (!open_) {
      lines_.emplace_back();
      if (lines_.size() > kMostLines) lines_.pop_front();
    }
    open_ = c != '\n';
    if (open_ && lines_.back().size() < kMostLine) lines_.back() += c == '\t' ? ' ' : c;
  }
}

void LastLines::Clear() {
  text_.End();
  lines_.clear();
  open_ = false;
}

}  // namespace rum
