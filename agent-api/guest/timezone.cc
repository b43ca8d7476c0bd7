#include "agent-api/guest/timezone.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

constexpr char kLocaltime[] = "/etc/localtime";
constexpr char kNextLocaltime[] = "/etc/.localtime.rum";
constexpr char kTimezoneFile[] = "/etc/timezone";
constexpr char kZones[] = "/usr/share/zoneinfo/";
constexpr char kZonesFolder[] = "zoneinfo/";  // wherever a system keeps them
constexpr size_t kMostOfAZone = 100;          // bytes of its name
constexpr size_t kMostOfItsData = 1 << 20;

// Returns what is shown of a name that anybody may have written.
std::string ZoneLine(const std::string& text) { return FirstLine(text).substr(0, kMostOfAZone); }

std::string ZoneInFile() { return ZoneLine(ReadFile(kTimezoneFile, 4096)); }

// Returns where the links from `place` lead, one after the other.
std::vector<std::filesystem::path> LinksFrom(std::filesystem::path place) {
  std::vector<std::filesystem::path> targets;
  for (int links = 0; links < kMostLinks; ++links) {
    char to[PATH_MAX];
    const ssize_t size = readlink(place.c_str(), to, sizeof to);
    if (size < 0) break;
    place = (place.parent_path() / std::string(to, static_cast<size_t>(size)))
                .lexically_normal();  // `to` alone where it is absolute
    targets.push_back(place);
  }
  return targets;
}

std::string ZoneByLink() {
  for (const std::filesystem::path& target : LinksFrom(kLocaltime)) {
    const size_t zones = target.native().rfind(kZonesFolder);
    if (zones == std::string::npos) continue;
    return ZoneLine(target.native().substr(zones + std::strlen(kZonesFolder)));
  }
  return "";
}

bool IsZoneName(const std::string& name) {
  const auto plain = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '+' || c == '-' ||
           c == '/';
  };
  return !name.empty() && name.size() <= kMostOfAZone && name.front() != '/' &&
         name.back() != '/' && std::all_of(name.begin(), name.end(), plain) &&
         !absl::StrContains(name, "//");
}

// Fails where the guest lacks the zone, or has what is none by that name.
absl::Status FindZone(const std::string& name) {
  std::error_code none;
  if (std::filesystem::directory_iterator(kZones, none) == std::filesystem::directory_iterator()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the guest has no time zones (", kZones,
                     "): install its package tzdata there, then `rum apply` sets this one"));
  }
  const std::string path = absl::StrCat(kZones, name);
  const absl::StatusOr<std::string> data = ReadFileToEdit(path, kMostOfItsData);
  // Debian has one that leads back to what it is to replace.
  const std::vector<std::filesystem::path> links = LinksFrom(path);
  const bool loop = std::find(links.begin(), links.end(), kLocaltime) != links.end();
  if (data.ok() && absl::StartsWith(*data, "TZif") && !loop) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the guest has no time zone ", name, " in ", kZones));
}

// A process sees the old zone or the new one, and never none.
absl::Status SetLocaltime(const std::string& name) {
  if (ZoneByLink() == name) return absl::OkStatus();
  unlink(kNextLocaltime);  // of an agent that was killed here
  if (symlink(absl::StrCat(kZones, name).c_str(), kNextLocaltime) != 0 ||
      std::rename(kNextLocaltime, kLocaltime) != 0) {
    const std::string why = std::strerror(errno);
    unlink(kNextLocaltime);
    return absl::InternalError(absl::StrCat(kLocaltime, ": ", why));
  }
  return SyncFolder("/etc");
}

absl::Status SetZoneInFile(const std::string& name) {
  if (access(kTimezoneFile, F_OK) != 0 || ZoneInFile() == name) return absl::OkStatus();
  return WriteFileAtomically(kTimezoneFile, name + "\n", 0644);
}

}  // namespace

std::string Timezone() {
  const std::string in_file = ZoneInFile();
  std::string name = ZoneByLink();
  if (name.empty() && access(kLocaltime, F_OK) != 0) return "UTC";
  // A copy, as old systems have it, is of the zone that the other file names.
  if (name.empty() && IsZoneName(in_file)) {
    const std::string zone = ReadFile(absl::StrCat(kZones, in_file), kMostOfItsData);
    if (!zone.empty() && zone == ReadFile(kLocaltime, kMostOfItsData)) name = in_file;
  }
  if (name.empty() || in_file.empty() || in_file == name) return name;
  return absl::StrCat(name, ", ", in_file, " in ", kTimezoneFile);
}

absl::Status SetTimezone(const std::string& name) {
  if (!IsZoneName(name)) {
    return absl::InvalidArgumentError(absl::StrCat("not a time zone: \"", name, "\""));
  }
  if (absl::Status found = FindZone(name); !found.ok()) return found;
  static std::mutex mutex;
  const std::lock_guard<std::mutex> guard(mutex);
  absl::Status status = SetLocaltime(name);
  status.Update(SetZoneInFile(name));
  return status;
}

Setting TimezoneSetting() {
  return {.files = {kLocaltime, kTimezoneFile},
          .look = [](agent::Settings* seen) { seen->set_timezone(Timezone()); },
          .set =
              [](const agent::Settings& wanted) {
                return wanted.has_timezone() ? SetTimezone(wanted.timezone()) : absl::OkStatus();
              }};
}

}  // namespace rum::guest
