#include "state/validate.h"

#include <arpa/inet.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <regex>
#include <set>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "state/authorized_key.h"
#include "state/bind_address.h"
#include "state/field_rules.h"
#include "state/guest_target.h"
#include "state/image_url.h"
#include "state/libvirt_uri.h"
#include "state/names.h"
#include "state/schema.h"
#include "state/size.h"
#include "state/storage_rules.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

bool HasControl(const std::string& text) {
  return absl::c_any_of(text, [](unsigned char c) { return c < ' ' || c == 0x7f; });
}

// One target is the other, or lies in it.
bool Nested(const std::string& a, const std::string& b) {
  const std::string x = fs::path(a).lexically_normal() / "";
  const std::string y = fs::path(b).lexically_normal() / "";
  return x.rfind(y, 0) == 0 || y.rfind(x, 0) == 0;
}

class Validator {
 public:
  Validator(const Config& config, const SourceMap& sources) : config_(config), sources_(sources) {}

  std::vector<Problem> Run() {
    CheckImageAndResources();
    CheckNetwork();
    CheckPorts();
    CheckUser();
    CheckMounts();
    CheckDrives();
    CheckProvision();
    CheckFilesystems();
    CheckTargets();
    CheckAdvanced();
    CheckReconcile();
    CheckForms(config_, "");
    return std::move(problems_);
  }

 private:
  void Report(const std::string& field, const std::string& message) {
    problems_.push_back({field, message, Where(field)});
  }

  // `problem` goes on after the field's name; empty: there is none.
  void ReportIf(const std::string& field, const std::string& problem) {
    if (!problem.empty()) Report(field, field + " " + problem);
  }

  // The value's place, or that of the nearest thing around it which stands in the file.
  SourceRange Where(std::string field) const {
    for (;;) {
      if (const auto at = sources_.find(field); at != sources_.end()) return at->second;
      const size_t end = field.find_last_of(".[");
      if (end == std::string::npos) return {};
      field.resize(end);
    }
  }

  void CheckImageAndResources() {
    const Image& image = config_.image();
    if (image.base().empty()) Report("image.base", "image.base must not be empty");
    CheckText("image.base", ShownUrl(image.base()));
    if (!image.sha256().empty() && !IsSha256(image.sha256())) {
      Report("image.sha256", "image.sha256 must be 64 hex digits (got " +
                                 std::to_string(image.sha256().size()) + " characters)");
    }
    const Resources& resources = config_.resources();
    CheckRange("resources.cpus", resources.cpus());
    CheckRange("resources.memory_mb", resources.memory_mb());
    CheckMost("resources.max_cpus", resources.max_cpus(), "resources.cpus", resources.cpus());
    CheckMost("resources.max_memory_mb", resources.max_memory_mb(), "resources.memory_mb",
              resources.memory_mb());
    CheckSize("resources.disk", resources.disk(), kLeastRootDisk, "a guest needs that much");
  }

  void CheckRange(const std::string& field, uint64_t value) {
    const FieldRule& rule = RuleAt(field);
    const std::string got = " (got " + std::to_string(value) + ")";
    if (value < rule.least) {
      Report(field, field + " must be at least " + std::to_string(rule.least) + got);
    } else if (rule.most > 0 && value > rule.most) {
      Report(field, field + " must be at most " + std::to_string(rule.most) + rule.most_why + got);
    }
  }

  // Of what `from` may become while the machine runs.
  void CheckMost(const std::string& field, uint64_t most, const std::string& from, uint64_t now) {
    if (sources_.count(field) == 0 && most == 0) return;
    if (most >= now) return CheckRange(field, most);
    Report(field, field + " must be at least " + from + ", which is " + std::to_string(now) +
                      " (got " + std::to_string(most) + ")");
  }

  // One of the words of the field's rule.
  void CheckWord(const std::string& field, const std::string& word) {
    const FieldRule& rule = RuleAt(field);
    if (absl::c_linear_search(rule.words, word) || (word.empty() && rule.or_empty)) return;
    std::string words;
    for (size_t i = 0; i < rule.words.size(); ++i) {
      words += (i == 0 ? "" : i + 1 < rule.words.size() ? ", " : " or ") + Quoted(rule.words[i]);
    }
    Report(field, field + " must be " + words + " (got " + Quoted(word) + ")");
  }

  // All texts of single tables whose rule says its form in words.
  void CheckForms(const google::protobuf::Message& table, const std::string& prefix) {
    const auto& type = *table.GetDescriptor();
    for (int i = 0; i < type.field_count(); ++i) {
      const auto& field = *type.field(i);
      if (field.is_repeated()) continue;
      const std::string path = prefix + field.name();
      if (field.message_type() != nullptr) {
        CheckForms(table.GetReflection()->GetMessage(table, &field), path + ".");
      } else if (!RuleOf(field).form.empty()) {
        CheckForm(path, RuleOf(field), table.GetReflection()->GetString(table, &field));
      }
    }
  }

  void CheckForm(const std::string& field, const FieldRule& rule, const std::string& text) {
    if (text.empty() && rule.or_empty) return;
    const bool fits = text.size() <= rule.most_characters &&
                      std::regex_search(text, std::regex(rule.pattern)) &&
                      (rule.refused.empty() || !std::regex_search(text, std::regex(rule.refused)));
    if (!fits) Report(field, field + " must be " + rule.form + " (got " + Quoted(text) + ")");
  }

  // Neither XML nor a shell nor a file's name takes these.
  void CheckText(const std::string& field, const std::string& text) {
    if (!HasControl(text)) return;
    Report(field, field + " must have no control characters (got " + Quoted(text) + ")");
  }

  void CheckSize(const std::string& field, uint64_t size, uint64_t least, const std::string& why) {
    const bool bare = size > 0 && size < kLeastDrive;
    const std::string got = " (got " + FormatSize(size) +
                            (bare ? ": a number alone is bytes, \"20G\" is a usual size)" : ")");
    if (size == 0) {
      Report(field, field + " must be more than 0");
    } else if (size < least) {
      Report(field, field + " must be at least " + FormatSize(least) + ": " + why + got);
    } else if (size > kMostBytes) {
      Report(field, field + " must be at most " + FormatSize(kMostBytes) +
                        ", which is what a qcow2 image holds" + got);
    }
  }

  void CheckNetwork() {
    ReportIf("network.hostname", HostnameProblem(config_.network().hostname()));
    CheckRange("network.ip_wait_timeout_s", config_.network().ip_wait_timeout_s());
    std::set<std::string> names;
    std::map<std::string, std::string> subnets;
    for (int i = 0; i < config_.network().interfaces_size(); ++i) {
      const Interface& card = config_.network().interfaces(i);
      const std::string at = "network.interfaces[" + std::to_string(i) + "]";
      ReportIf(at + ".network", NetworkNameProblem(card.network()));
      if (!names.insert(card.network()).second) {
        Report(at + ".network", at + ".network \"" + card.network() + "\" is used twice");
      }
      if (card.ip().empty()) continue;
      CheckFixedAddress(at + ".ip", card.ip());
      const std::string subnet = card.ip().substr(0, card.ip().rfind('.'));
      if (const auto [other, first] = subnets.emplace(subnet, at); !first) {
        Report(at + ".ip", at + ".ip " + card.ip() + " is in the same /24 as " + other->second +
                               ".ip: each network has one of its own");
      }
    }
  }

  // What libvirt takes, and a file and an XML attribute can be named by.
  static std::string NetworkNameProblem(const std::string& name) {
    const std::string got = " (got " + Quoted(name) + ")";
    if (name.empty()) return "must not be empty";
    if (name.find('/') != std::string::npos || HasControl(name)) {
      return "must have no / and no control characters, as libvirt takes none" + got;
    }
    if (name == "." || name == ".." || name.front() == ' ' || name.back() == ' ') {
      return "must be a name without spaces around it" + got;
    }
    return name.size() > kMostName ? "must have at most 64 bytes" + got : "";
  }

  void CheckFixedAddress(const std::string& field, const std::string& ip) {
    unsigned char bytes[4];
    if (inet_pton(AF_INET, ip.c_str(), bytes) != 1) {
      Report(field, field + " must be an IPv4 address (got " + Quoted(ip) + ")");
    } else if (bytes[3] <= 1 || bytes[3] == 255) {
      Report(field, field + " must not end in .0, .1 or .255 (got " + ip +
                        "): they are the network, the host and broadcast");
    } else if (bytes[0] == 0 || bytes[0] == 127 || bytes[0] >= 224) {
      Report(field, field + " must be an address that a card can have (got " + ip + ")");
    }
  }

  void CheckPorts() {
    std::map<uint32_t, std::vector<int>> by_host;  // what was there before
    for (int i = 0; i < config_.ports_size(); ++i) {
      const Port& port = config_.ports(i);
      const std::string at = "ports[" + std::to_string(i) + "]";
      const bool unix_socket = IsUnixBind(port.bind());
      if (unix_socket) {
        CheckUnixSocket(at, port);
      } else if (!port.auto_()) {
        CheckPortNumber(at + ".host", port.host());
      } else if (sources_.count(at + ".host") > 0) {
        Report(at + ".host",
               at + ".host and " + at + ".auto = true exclude each other: leave one out");
      }
      CheckPortNumber(at + ".guest", port.guest());
      if (const std::string problem = BindProblem(port.bind()); !problem.empty()) {
        Report(at + ".bind", at + ".bind " + problem);
        continue;
      }
      if (port.auto_() && absl::StrContains(port.bind(), "%")) {
        Report(at + ".bind", at + ".bind with an interface needs a port that is named in `host`");
      }
      if (port.auto_()) continue;
      std::vector<int>& same = by_host[port.host()];
      same.push_back(i);
      for (const int j : same) {
        const Port& other = config_.ports(j);
        if (j == i || !BindsCollide(other.bind(), port.bind())) continue;
        if (unix_socket) {
          Report(at + ".bind",
                 at + ".bind " + port.bind() + " is also that of ports[" + std::to_string(j) + "]");
          break;
        }
        Report(at + ".host", at + ".host " + std::to_string(port.host()) + " on " + port.bind() +
                                 " collides with ports[" + std::to_string(j) + "] on " +
                                 other.bind());
        break;
      }
    }
  }

  void CheckUnixSocket(const std::string& at, const Port& port) {
    if (sources_.count(at + ".host") > 0) {
      Report(at + ".host", at + ".host must be left out: a unix socket has no port");
    }
    if (port.auto_()) {
      Report(at + ".auto", at + ".auto must be left out: a unix socket has the path of its bind");
    }
  }

  void CheckPortNumber(const std::string& field, uint32_t number) {
    const FieldRule& rule = RuleAt(field);
    if (number >= rule.least && number <= rule.most) return;
    Report(field, field + " must be from " + std::to_string(rule.least) + " to " +
                      std::to_string(rule.most) + " (got " + std::to_string(number) + ")");
  }

  void CheckUser() {
    CheckUserName(config_.user().name());
    for (int i = 0; i < config_.user().groups_size(); ++i) {
      const std::string& group = config_.user().groups(i);
      const std::string field = "user.groups[" + std::to_string(i) + "]";
      if (IsGroupName(group)) continue;
      Report(field, field +
                        " must be a name that a Linux group can have: 1 to 32 bytes, no white "
                        "space, none of : , / #, no - + ~ before it, not digits alone (got " +
                        Quoted(group) + ")");
    }
    CheckSsh();
    for (int i = 0; i < config_.ssh().authorized_keys_size(); ++i) {
      ReportIf("ssh.authorized_keys[" + std::to_string(i) + "]",
               KeyLineProblem(config_.ssh().authorized_keys(i)));
    }
  }

  void CheckUserName(const std::string& name) {
    if (!IsUserName(name)) {
      Report("user.name",
             "user.name must be a Linux user name: a-z or _, then a-z, 0-9, _ and -, at most 32 "
             "characters (got " +
                 Quoted(name) + ")");
    } else if (IsSystemAccount(name)) {
      Report("user.name",
             "user.name must not be that of a guest's own service, which cannot log "
             "in (got " +
                 Quoted(name) + ")");
    }
  }

  void CheckSsh() {
    const std::string& command = config_.ssh().command();
    if (command.empty()) Report("ssh.command", "ssh.command must not be empty");
    CheckText("ssh.command", command);
    if (absl::StrContains(command, " -")) {
      Report("ssh.command",
             "ssh.command must be a program alone, without options (got " + Quoted(command) + ")");
    }
    if (!config_.ssh().user().empty() && !IsLoginName(config_.ssh().user()) &&
        config_.ssh().user() != config_.user().name()) {
      Report("ssh.user",
             "ssh.user must be the name of an account: no - before it, no white "
             "space, nothing that a shell obeys (got " +
                 Quoted(config_.ssh().user()) + ")");
    }
    CheckText("ssh.interface", config_.ssh().interface());
  }

  void CheckMounts() {
    std::set<std::string> tags;
    int defaults = 0;
    for (int i = 0; i < config_.mounts_size(); ++i) {
      const Mount& mount = config_.mounts(i);
      const std::string at = "mounts[" + std::to_string(i) + "]";
      std::error_code error;
      if (!fs::is_directory(mount.source(), error)) {
        Report(at + ".source", at + ".source must be a folder: there is none at " + mount.source());
      }
      CheckText(at + ".tag", mount.tag());
      if (mount.tag().size() > RuleAt(at + ".tag").most_characters) {
        Report(at + ".tag", at + ".tag must be at most 36 bytes (got " +
                                std::to_string(mount.tag().size()) + ")");
      }
      if (!tags.insert(mount.tag()).second) {
        Report(at + ".tag", at + ".tag \"" + mount.tag() + "\" is used twice");
      }
      if (mount.default_() && ++defaults == 2) {
        Report(at + ".default", at + ".default: only one mount can be the default one");
      }
    }
  }

  void CheckProvision() {
    const Provision& provision = config_.provision();
    ReportIf("provision.system.script", ScriptProblem(provision.system().script()));
    ReportIf("provision.boot.script", ScriptProblem(provision.boot().script()));
    CheckRange("provision.timeout_s", provision.timeout_s());
  }

  // What no kernel starts and no shell reads.
  static std::string ScriptProblem(const std::string& script) {
    if (script.find('\0') != std::string::npos) return "must have no byte 0 in it";
    const std::string first = script.substr(0, script.find('\n'));
    if (!absl::StartsWith(first, "#!") || first.empty() || first.back() != '\r') return "";
    return "begins with " + Quoted(first) +
           ": the guest would look for a program whose name ends in a carriage return (save it "
           "with Unix's ends of lines)";
  }

  void CheckDrives() {
    if (static_cast<uint64_t>(config_.drives_size()) > kMostDrives) {
      Report("drives", "drives: at most " + std::to_string(kMostDrives) + " are possible (got " +
                           std::to_string(config_.drives_size()) + ")");
    }
    for (const auto& [name, drive] : config_.drives()) {
      const std::string at = "drives." + name;
      if (!IsMachineName(name)) {
        Report(at, at + ": the name must match [a-zA-Z0-9][a-zA-Z0-9._-]*");
      } else if (name.size() > kMostName) {
        Report(at, at + ": the name must have at most 64 characters");
      }
      CheckSize(at + ".size", drive.size(), kLeastDrive, "there is no smaller drive");
    }
  }

  void CheckFilesystems() {
    // In the order of the file, so that of two uses of a drive the second one is the error.
    std::map<std::pair<uint32_t, std::string>, const FsList*> lists;
    for (const auto& [type, list] : config_.fs()) lists[{Where("fs." + type).line, type}] = &list;
    for (const auto& [place, list] : lists) {
      const std::string& type = place.second;
      const bool many = type == "zfs" || type == "btrfs";
      if (!many && OneDriveTypes().count(type) == 0) {
        Report("fs." + type, "fs." + type + ": unknown filesystem (there are btrfs, zfs, " +
                                 absl::StrJoin(OneDriveTypes(), ", ") + ")");
        continue;
      }
      for (int i = 0; i < list->entries_size(); ++i) {
        CheckFilesystem("fs." + type + "[" + std::to_string(i) + "]", type, many, list->entries(i));
      }
    }
  }

  void CheckFilesystem(const std::string& at, const std::string& type, bool many, const Fs& fs) {
    if (many && !fs.drive().empty())
      Report(at + ".drive", at + ": " + type + " takes `drives`, not `drive`");
    if (!many && fs.drives_size() > 0)
      Report(at + ".drives", at + ": " + type + " takes `drive`, not `drives`");
    if (many && fs.drives_size() == 0 && fs.drive().empty())
      Report(at, at + ".drives must name at least one drive");
    if (!many && fs.drive().empty() && fs.drives_size() == 0)
      Report(at, at + ".drive must name a drive");
    if (!many && !fs.mode().empty()) {
      Report(at + ".mode", at + ".mode is for zfs and btrfs only");
    } else if (!fs.mode().empty() && !absl::c_linear_search(ModesOf(type), fs.mode())) {
      Report(at + ".mode", at + ".mode must be one of " + absl::StrJoin(ModesOf(type), ", ") +
                               " (got " + Quoted(fs.mode()) + ")");
    }
    if (type == "zfs") CheckPool(at, fs);
    if (type != "zfs" && !fs.pool().empty()) Report(at + ".pool", at + ".pool is for zfs only");
    std::vector<std::string> names(fs.drives().begin(), fs.drives().end());
    if (!fs.drive().empty()) names.push_back(fs.drive());
    CheckDrivesOf(at, type, fs.mode(), names);
    for (const std::string& name : names) {
      const std::string field = at + (many ? ".drives" : ".drive");
      if (config_.drives().count(name) == 0) {
        Report(field,
               field + " names the drive \"" + name + "\", and there is no [drives." + name + "]");
      } else if (!used_drives_.emplace(name, at).second) {
        Report(field, field + ": the drive \"" + name + "\" is used by " + used_drives_[name] +
                          " already");
      }
    }
  }

  void CheckPool(const std::string& at, const Fs& fs) {
    const std::string pool = PoolOf(fs);
    const std::string field = at + (fs.pool().empty() ? ".target" : ".pool");
    if (!fs.pool().empty() && !IsPoolName(pool)) {
      Report(field, field + " " + Quoted(pool) +
                        " is not a pool's name (a letter, then letters, digits, . _ -)");
    } else if (pool.size() > 255) {
      Report(field, field + " gives a pool's name of more than 255 bytes: set " + at + ".pool");
    } else if (const auto [other, first] = pools_.emplace(pool, at); !first) {
      Report(field, field + " gives the pool " + Quoted(pool) + ", which is that of " +
                        other->second + " already: set " + at + ".pool to another");
    }
  }

  // Whether mkfs makes a filesystem of drives so many and so large.
  void CheckDrivesOf(const std::string& at, const std::string& type, const std::string& mode,
                     const std::vector<std::string>& names) {
    const int count = static_cast<int>(std::set(names.begin(), names.end()).size());
    const int least_count = type == "btrfs" || type == "zfs" ? LeastDrives(type, mode) : 1;
    if (count > 0 && count < least_count) {
      Report(at + ".drives", at + ".drives must name at least " + std::to_string(least_count) +
                                 " drives: " + type + "'s " + mode + " is made of them (got " +
                                 std::to_string(count) + ")");
    }
    const uint64_t least = LeastDriveOf(type, mode, count);
    for (const std::string& name : names) {
      const auto drive = config_.drives().find(name);
      if (drive == config_.drives().end() || drive->second.size() < kLeastDrive) continue;
      CheckSize("drives." + name + ".size", drive->second.size(), least,
                at + " makes " + type + (mode.empty() ? "" : " " + mode) +
                    " on it, which needs that much");
    }
  }

  void CheckTargets() {
    std::vector<std::pair<std::string, std::string>> targets;
    for (int i = 0; i < config_.mounts_size(); ++i) {
      targets.emplace_back("mounts[" + std::to_string(i) + "].target", config_.mounts(i).target());
    }
    for (const auto& [type, list] : std::map(config_.fs().begin(), config_.fs().end())) {
      for (int i = 0; i < list.entries_size(); ++i) {
        targets.emplace_back("fs." + type + "[" + std::to_string(i) + "].target",
                             list.entries(i).target());
      }
    }
    for (size_t i = 0; i < targets.size(); ++i) {
      const auto& [field, target] = targets[i];
      if (const std::string problem = TargetProblem(target); !problem.empty()) {
        Report(field, field + " " + problem);
        continue;
      }
      for (size_t j = 0; j < i; ++j) {
        if (targets[j].second.empty() || !Nested(target, targets[j].second)) continue;
        Report(field, field + " " + target + " is equal to or nested with " + targets[j].first +
                          " " + targets[j].second);
        break;
      }
    }
  }

  void CheckAdvanced() {
    const Advanced& advanced = config_.advanced();
    if (!advanced.libvirt_uri().empty()) {
      ReportIf("advanced.libvirt_uri", LibvirtUriProblem(advanced.libvirt_uri()));
    }
    CheckWord("advanced.domain_type", advanced.domain_type());
    if (!IsMachineName(advanced.machine())) {
      Report("advanced.machine",
             "advanced.machine must be a QEMU machine type such as \"q35\" (got " +
                 Quoted(advanced.machine()) + ")");
    }
  }

  void CheckReconcile() { CheckWord("reconcile.restart", config_.reconcile().restart()); }

  const Config& config_;
  const SourceMap& sources_;
  std::vector<Problem> problems_;
  std::map<std::string, std::string> used_drives_;
  std::map<std::string, std::string> pools_;  // to whose they are
};

}  // namespace

std::vector<Problem> Validate(const Config& config, const SourceMap& sources) {
  return Validator(config, sources).Run();
}

}  // namespace rum
