#include "agent-api/guest/mount_table.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

constexpr char kBegin[] = "# rum: begin (written by rum-agent; edit rum.toml instead)\n";
constexpr char kEnd[] = "# rum: end\n";
constexpr size_t kMostOfTable = 1 << 20;

// Both tables write white space, '#' and backslashes as three octal digits. getmntent(3) reads
// neither a mountinfo, whose fields are others, nor a text.
std::string Unescaped(const std::string& text) {
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) &&
        octal(text[i + 3])) {
      out +=
          static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + text[i + 3] - '0');
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string Escaped(const std::string& text) {
  std::string out;
  for (const unsigned char c : text) {
    if (c <= ' ' || c == '\\' || c == '#' || c == 0x7f) {
      absl::StrAppend(&out, absl::StrFormat("\\%03o", c));
    } else {
      out += static_cast<char>(c);
    }
  }
  return out;
}

std::string OptionsOf(const agent::Volume& volume) {
  std::string options = volume.readonly() ? "ro" : "rw";
  if (volume.type() == "9p") absl::StrAppend(&options, ",", k9pOptions);
  absl::StrAppend(&options, ",nofail");
  if (!volume.serials().empty()) absl::StrAppend(&options, ",x-systemd.device-timeout=20s");
  return options;
}

// Where rum's block is; both npos: nowhere.
std::pair<size_t, size_t> OwnBlock(const std::string& fstab) {
  size_t begin = fstab.find(kBegin);
  if (begin != 0 && begin != std::string::npos && fstab[begin - 1] != '\n') {
    begin = std::string::npos;
  }
  if (begin == std::string::npos) return {begin, begin};
  const size_t end = fstab.find(kEnd, begin);
  return {begin, end == std::string::npos ? fstab.size() : end + std::strlen(kEnd)};
}

}  // namespace

std::vector<MountEntry> ParseMountInfo(const std::string& text) {
  std::vector<MountEntry> mounts;
  for (const auto& line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    // Optional fields end with a lone "-".
    if (words.size() < 6) continue;
    const auto dash = std::find(words.begin() + 6, words.end(), "-");
    if (words.end() - dash < 3) continue;
    const std::vector<std::string> options = absl::StrSplit(words[5], ',');
    const bool follows = std::any_of(words.begin() + 6, dash, [](const std::string& field) {
      return absl::StartsWith(field, "shared:") || absl::StartsWith(field, "master:");
    });
    mounts.push_back({Unescaped(words[4]), *(dash + 1), Unescaped(*(dash + 2)),
                      std::find(options.begin(), options.end(), "ro") != options.end(), words[2],
                      follows});
  }
  return mounts;
}

std::vector<MountEntry> MountsNow() {
  static std::mutex mutex;
  static int table = -1;
  static auto* const mounts = new std::vector<MountEntry>();
  const std::lock_guard<std::mutex> guard(mutex);
  bool changed = false;
  if (table < 0) {
    table = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    changed = true;
  }
  pollfd told{table, POLLPRI, 0};
  if (poll(&told, 1, 0) != 0) changed = true;
  if (!changed) return *mounts;
  std::string text;
  char page[4096];
  for (ssize_t n; (n = pread(table, page, sizeof page, static_cast<off_t>(text.size()))) > 0;) {
    text.append(page, static_cast<size_t>(n));
  }
  *mounts = ParseMountInfo(text);
  return *mounts;
}

const MountEntry* MountedAt(const std::vector<MountEntry>& mounts, const std::string& target) {
  const MountEntry* found = nullptr;
  for (const MountEntry& mount : mounts) {
    if (mount.target == target) found = &mount;
  }
  return found;
}

std::string FstabLine(const agent::Volume& volume, const std::string& source) {
  return absl::StrCat(Escaped(source), " ", Escaped(volume.target()), " ", volume.type(), " ",
                      OptionsOf(volume), " 0 ", volume.serials().empty() ? 0 : 2, "\n");
}

std::string OwnLines(const std::string& fstab) {
  const auto [begin, end] = OwnBlock(fstab);
  if (begin == std::string::npos) return "";
  std::string block = fstab.substr(begin, end - begin).substr(std::strlen(kBegin));
  if (absl::EndsWith(block, kEnd)) block.resize(block.size() - std::strlen(kEnd));
  return block;
}

std::string WithOwnLines(const std::string& fstab, const std::string& lines) {
  const std::string block = lines.empty() ? "" : absl::StrCat(kBegin, lines, kEnd);
  const auto [begin, end] = OwnBlock(fstab);
  if (begin != std::string::npos) {
    return absl::StrCat(fstab.substr(0, begin), block, fstab.substr(end));
  }
  const bool ended = fstab.empty() || fstab.back() == '\n';
  return block.empty() ? fstab : absl::StrCat(fstab, ended ? "" : "\n", block);
}

std::vector<std::string> TargetsOf(const std::string& lines) {
  std::vector<std::string> targets;
  for (const auto& line : absl::StrSplit(lines, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (words.size() > 1) targets.push_back(Unescaped(words[1]));
  }
  return targets;
}

std::vector<std::string> OwnTargets() {
  return TargetsOf(OwnLines(ReadFile("/etc/fstab", kMostOfTable)));
}

}  // namespace rum::guest
