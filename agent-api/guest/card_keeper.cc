#include "agent-api/guest/card_keeper.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostOfState = 64 * 1024;
constexpr size_t kMostOfInterfaces = 1 << 20;
constexpr char kInterfaces[] = "/etc/network/interfaces";

bool Exists(const NetworkWorld& world, const std::string& path) {
  std::error_code unreadable;
  return fs::exists(world.root + path, unreadable);
}

// A unit of systemd's has a cgroup for as long as something of it runs.
bool UnitRuns(const NetworkWorld& world, const std::string& unit) {
  for (const char* hierarchy : {"", "/systemd", "/unified"}) {
    if (Exists(world, absl::StrCat("/sys/fs/cgroup", hierarchy, "/system.slice/", unit)))
      return true;
  }
  return false;
}

// The value of "KEY=value" in one of the files of state that managers keep; empty: none.
std::string ValueIn(const std::string& text, const std::string& key) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::StartsWith(line, key + "="))
      return std::string(absl::StripAsciiWhitespace(line.substr(key.size() + 1)));
  }
  return "";
}

// nullopt: it does not run.
std::optional<CardKeeper> AskNetworkManager(const NetworkWorld& world, const Link& link) {
  const std::string folder = world.root + "/run/NetworkManager";
  // Under systemd it writes none.
  const std::string pid = FirstLine(ReadFile(folder + "/NetworkManager.pid", kMostOfState));
  const bool runs =
      UnitRuns(world, "NetworkManager.service") || (!pid.empty() && Exists(world, "/proc/" + pid));
  if (!runs) return std::nullopt;
  const std::string state = ReadFile(absl::StrCat(folder, "/devices/", link.index), kMostOfState);
  const std::string managed = ValueIn(state, "managed");
  if (managed == "true") return CardKeeper{CardKeeper::kTakes, CardKeeper::kNetworkManager, ""};
  if (managed.empty()) {
    return CardKeeper{CardKeeper::kUndecided, CardKeeper::kNetworkManager,
                      "NetworkManager has not taken it up yet"};
  }
  return CardKeeper{CardKeeper::kRefuses, CardKeeper::kNetworkManager,
                    "NetworkManager is told to leave it alone"};
}

std::optional<CardKeeper> AskNetworkd(const NetworkWorld& world, const Link& link) {
  if (!UnitRuns(world, "systemd-networkd.service")) return std::nullopt;
  const std::string state =
      ReadFile(absl::StrCat(world.root, "/run/systemd/netif/links/", link.index), kMostOfState);
  const std::string admin = ValueIn(state, "ADMIN_STATE");
  if (admin == "unmanaged") {
    return CardKeeper{CardKeeper::kLeaves, CardKeeper::kNetworkd,
                      "systemd-networkd has no rule for it"};
  }
  if (admin.empty() || admin == "pending" || admin == "initialized") {
    return CardKeeper{CardKeeper::kUndecided, CardKeeper::kNetworkd,
                      "systemd-networkd has not taken it up yet"};
  }
  return CardKeeper{CardKeeper::kTakes, CardKeeper::kNetworkd, ""};
}

// Words of the lines of an interfaces(5).
std::vector<std::vector<std::string>> InterfacesLines(const std::string& text) {
  std::vector<std::vector<std::string>> lines;
  const std::string joined = absl::StrReplaceAll(text, {{"\\\n", " "}});
  for (const absl::string_view line : absl::StrSplit(joined, '\n')) {
    std::vector<std::string> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (!words.empty() && words[0][0] != '#') lines.push_back(std::move(words));
  }
  return lines;
}

bool NamesCard(const std::string& text, const std::string& card) {
  for (const std::vector<std::string>& words : InterfacesLines(text)) {
    const bool naming = words[0] == "iface" || words[0] == "auto" ||
                        absl::StartsWith(words[0], "allow-") || words[0] == "mapping";
    if (naming && std::find(words.begin() + 1, words.end(), card) != words.end()) return true;
  }
  return false;
}

// Whether the main file has those of interfaces.d read.
bool ReadsFolder(const std::string& text) {
  for (const std::vector<std::string>& words : InterfacesLines(text)) {
    const bool reads =
        words[0] == "source" || words[0] == "source-directory" || words[0] == "source-dir";
    if (reads && words.size() > 1 && absl::StrContains(words[1], "interfaces.d")) return true;
  }
  return false;
}

// ifup's own note of what it brought up.
bool IsUpByIfup(const NetworkWorld& world, const std::string& card) {
  for (const char* file : {"/run/network/ifstate", "/run/ifstate", "/var/run/ifstate"}) {
    const std::string state = ReadFile(world.root + file, kMostOfState);
    for (const absl::string_view line : absl::StrSplit(state, '\n')) {
      if (absl::StartsWith(line, card + "=") || line == card) return true;
    }
  }
  return false;
}

std::optional<CardKeeper> AskIfupdown(const NetworkWorld& world, const Link& link) {
  const std::string main = ReadFile(world.root + kInterfaces, kMostOfInterfaces);
  if (main.empty() || !world.has("ifup")) return std::nullopt;
  const CardKeeper takes = {CardKeeper::kTakes, CardKeeper::kIfupdown, ""};
  if (IsUpByIfup(world, link.name) || NamesCard(main, link.name)) return takes;
  const std::string own = IfupdownFileOf(link.mac);
  std::error_code none;
  for (const auto& file :
       fs::directory_iterator(world.root + kInterfaces + std::string(".d"), none)) {
    const std::string path = file.path().string();
    if (path != world.root + own && NamesCard(ReadFile(path, kMostOfInterfaces), link.name))
      return takes;
  }
  if (!ReadsFolder(main)) {
    return CardKeeper{CardKeeper::kRefuses, CardKeeper::kIfupdown,
                      "/etc/network/interfaces does not name it, and has no line `source "
                      "/etc/network/interfaces.d/*`"};
  }
  // At the guest's boot it comes to this only after the cards that it knows.
  if (!IsUpByIfup(world, "lo")) {
    return CardKeeper{CardKeeper::kUndecided, CardKeeper::kIfupdown,
                      "ifupdown has not brought up the guest's network yet"};
  }
  return CardKeeper{CardKeeper::kLeaves, CardKeeper::kIfupdown,
                    "/etc/network/interfaces does not name it"};
}

// Part of a bridge or a bond, or under a VLAN: the address is that one's.
bool IsPartOfAnother(const NetworkWorld& world, const Link& link) {
  const std::string folder = absl::StrCat(world.root, "/sys/class/net/", link.name);
  std::error_code none;
  if (fs::exists(folder + "/master", none)) return true;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    if (absl::StartsWith(entry.path().filename().string(), "upper_")) return true;
  }
  return false;
}

std::string PlainMac(const std::string& mac) { return absl::StrReplaceAll(mac, {{":", ""}}); }

}  // namespace

CardKeeper KeeperOf(const NetworkWorld& world, const Link& link) {
  if (!link.addresses.empty() || IsPartOfAnother(world, link))
    return {CardKeeper::kTakes, CardKeeper::kNobody, ""};
  std::optional<CardKeeper> best;
  for (const auto ask : {AskNetworkManager, AskNetworkd, AskIfupdown}) {
    std::optional<CardKeeper> said = ask(world, link);
    if (!said.has_value()) continue;
    if (said->what == CardKeeper::kTakes) return *said;
    // Who has not said anything yet may still take it; who was told to leave it is obeyed.
    if (!best.has_value() || said->what == CardKeeper::kUndecided) best = std::move(said);
  }
  if (best.has_value()) return *std::move(best);
  // Until its targets are reached, systemd lets nobody in.
  if (Exists(world, "/run/systemd/system") && Exists(world, "/run/nologin"))
    return {CardKeeper::kUndecided, CardKeeper::kNobody, "the guest is still starting"};
  return {CardKeeper::kRefuses, CardKeeper::kNobody,
          "the guest has no network manager that rum knows"};
}

// After the rules of others, which a card takes first.
std::string NetworkdFileOf(const std::string& mac) {
  return absl::StrCat("/etc/systemd/network/95-rum-", PlainMac(mac), ".network");
}

// Without a dot: ifupdown reads no others of a folder.
std::string IfupdownFileOf(const std::string& mac) {
  return absl::StrCat("/etc/network/interfaces.d/rum-", PlainMac(mac));
}

}  // namespace rum::guest
