#include "cli/copy_progress.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "cli/terminal_text.h"
#include "controller/base/bytes_text.h"

namespace rum {
namespace {

constexpr char kLineStart[] = "\r\033[K";
constexpr size_t kMostName = 40;

}  // namespace

std::string CopyProgress::Next(const agent::CopyMessage& message, absl::Time now) {
  if (message.has_item() && message.item().kind() != agent::CopyItem::FOLDER) {
    ++(message.item().kept() ? kept_ : files_);
    name_ = message.item().name();
    size_ = message.item().size();
    done_ = message.item().offset();
  }
  done_ += message.data().size();
  bytes_ += message.data().size();
  if (now - shown_ < absl::Milliseconds(200)) return "";
  shown_ = now;
  is_there_ = true;
  std::string line = absl::StrCat(kLineStart, "  ", Summary());
  const std::string name = OneLine(name_, utf8_);
  absl::StrAppend(&line, "  ", name.size() <= kMostName ? name : "");
  if (size_ > 0) absl::StrAppend(&line, "  ", std::min<uint64_t>(100, done_ * 100 / size_), "%");
  return line;
}

std::string CopyProgress::Summary() const {
  return absl::StrCat(files_, files_ == 1 ? " file, " : " files, ",
                      BytesText(static_cast<double>(bytes_)),
                      kept_ > 0 ? absl::StrCat(", ", kept_, " there already") : "");
}

std::string CopyProgress::Clear() {
  const bool was_there = is_there_;
  is_there_ = false;
  shown_ = absl::InfinitePast();
  return was_there ? kLineStart : "";
}

}  // namespace rum
