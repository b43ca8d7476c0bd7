#include "controller/images/shorthands.h"

#include <sys/utsname.h>

#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "state/names.h"
#include "state/schema.h"

namespace rum {
namespace {

constexpr char kTable[] =
#include "controller/images/shorthands.inc"
    ;

std::vector<Shorthand> ReadTable() {
  std::vector<Shorthand> rows;
  std::istringstream table(kTable);
  for (std::string line; std::getline(table, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    Shorthand row;
    words >> row.name >> row.architecture >> row.url >> row.checksums_url;
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

const std::vector<Shorthand>& Shorthands() {
  static const auto* const rows = new std::vector<Shorthand>(ReadTable());
  return *rows;
}

absl::StatusOr<ImageSource> SourceOf(const std::string& base, const std::string& sha256,
                                     const std::string& architecture) {
  if (absl::StartsWith(base, "/") || absl::StrContains(base, "://")) {
    return ImageSource{base, sha256, ""};
  }
  std::vector<std::string> names, others;
  for (const Shorthand& row : Shorthands()) {
    names.push_back(row.name);
    if (row.name != base) continue;
    if (row.architecture == architecture) return ImageSource{row.url, sha256, row.checksums_url};
    others.push_back(row.architecture);
  }
  if (!others.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("image.base ", base, " has no image for ",
                                                   architecture, ", but for ",
                                                   absl::StrJoin(others, ", ")));
  }
  const std::string near = DidYouMean(base, names);
  return absl::InvalidArgumentError(absl::StrCat(
      "image.base ", Quoted(base), " is neither a file here, nor a URL, nor a shorthand",
      near.empty() ? " (`rum explain image.base`)" : near));
}

std::string HostArchitecture() {
  utsname names{};
  return uname(&names) == 0 ? names.machine : "";
}

}  // namespace rum
