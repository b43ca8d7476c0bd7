#include "controller/service/shell_start.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace rum {
namespace {

// $1: how many folders follow; after them the command. The agent sets SHELL to the user's own; a
// command goes to one whose words are a POSIX shell's, so that it is not read in another language.
constexpr char kShell[] = R"(n=$1; shift; at=
while [ "$n" -gt 0 ]; do
  [ -n "$at" ] || { [ -n "$1" ] && cd -- "$1" 2>/dev/null && at=$1; }
  shift; n=$((n - 1))
done
[ -n "$at" ] || cd 2>/dev/null || cd /
shell=${SHELL:-/bin/sh}
[ $# -gt 0 ] || exec "$shell" -l
case ${shell##*/} in bash|zsh|ksh|mksh|dash|ash|sh) ;; *) shell=/bin/sh ;; esac
exec "$shell" -lc 'exec "$@"' "$shell" "$@")";

std::string WithoutLinks(const std::string& path) {
  std::error_code error;
  const std::filesystem::path plain = std::filesystem::weakly_canonical(path, error);
  return error ? path : plain.string();
}

}  // namespace

std::string GuestFolderOf(const std::string& host_folder, const std::vector<Mount>& mounts) {
  if (!absl::StartsWith(host_folder, "/")) return "";
  const std::string here = WithoutLinks(host_folder);
  std::string found;
  size_t longest = 0;
  for (const Mount& mount : mounts) {
    const std::string source = WithoutLinks(mount.source());
    const std::string inside = source == "/" ? source : source + "/";
    if (source.empty() || (here != source && !absl::StartsWith(here, inside))) continue;
    if (source.size() <= longest) continue;
    longest = source.size();
    const std::string rest = here == source ? "" : here.substr(inside.size());
    found = rest.empty() ? mount.target()
                         : absl::StrCat(mount.target() == "/" ? "" : mount.target(), "/", rest);
  }
  return found;
}

void MakeShell(const std::vector<std::string>& folders, agent::ExecStart* start) {
  std::vector<std::string> words = {"/bin/sh", "-c", kShell, "rum-shell",
                                    absl::StrCat(folders.size())};
  words.insert(words.end(), folders.begin(), folders.end());
  words.insert(words.end(), start->argv().begin(), start->argv().end());
  start->clear_argv();
  for (const std::string& word : words) start->add_argv(word);
  start->set_cwd("/");
}

}  // namespace rum
