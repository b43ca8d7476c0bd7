#include "state/field_rules.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "state/guest_target.h"
#include "state/names.h"
#include "state/schema.h"
#include "state/storage_rules.h"

namespace rum {
namespace {

constexpr char kNoControl[] = R"(^[^\x00-\x1f\x7f]*$)";
constexpr uint64_t kWeek = 7 * 24 * 3600;

FieldRule RangeRule(uint64_t least, uint64_t most, const std::string& most_why = "") {
  FieldRule rule;
  rule.least = least;
  rule.most = most;
  rule.most_why = most_why;
  return rule;
}

FieldRule WordsRule(const std::vector<std::string>& words, bool or_empty) {
  FieldRule rule;
  rule.words = words;
  rule.or_empty = or_empty;
  return rule;
}

FieldRule TextRule(const std::string& pattern, const std::string& refused = "",
                   uint64_t most_characters = 0, bool or_empty = false) {
  FieldRule rule;
  rule.pattern = pattern;
  rule.refused = refused;
  rule.most_characters = most_characters;
  rule.or_empty = or_empty;
  return rule;
}

std::string HostnamePattern() {
  const std::string label = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";
  return absl::StrCat("^", label, R"((\.)", label, ")*$");
}

// Four numbers that an interface can have; IPv6, roughly; or the path of a socket.
std::string BindPattern() {
  const std::string number = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
  const std::string first = "(22[0-3]|2[01][0-9]|1[0-9][0-9]|[1-9][0-9]?)";
  return absl::StrCat("^(0\\.0\\.0\\.0|", first, "(\\.", number, "){3}|",
                      R"([0-9a-fA-F:.]*:[0-9a-fA-F:.]*(%[^ /:%]{1,15})?)",
                      R"(|unix:[^\x00-\x1f\x7f]*[^/\x00-\x1f\x7f])$)");
}

std::string CardAddressPattern() {
  const std::string number = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
  const std::string first = "(22[0-3]|2[01][0-9]|1[013-9][0-9]|12[0-689]|[1-9][0-9]?)";
  const std::string last = "(25[0-4]|2[0-4][0-9]|1[0-9][0-9]|[1-9][0-9]|[2-9])";
  return absl::StrCat("^", first, "(\\.", number, "){2}\\.", last, "$");
}

std::string SystemAccountsPattern() {
  return absl::StrCat("^(", absl::StrJoin(SystemAccounts(), "|"), ")$|^systemd-");
}

FieldRule TimezoneRule() {
  FieldRule rule =
      TextRule("^[a-zA-Z0-9_+-]+(/[a-zA-Z0-9_+-]+)*$", "^(localtime|posixrules)$", 64, true);
  rule.form = "the name of a time zone, such as \"Europe/Berlin\"";
  return rule;
}

FieldRule TargetRule() {
  return TextRule(R"(^/[^\x00-\x1f\x7f]*$)",
                  absl::StrCat(R"((^|/)\.\.(/|$)|^/(\.?/)*\.?$|)", KeptTargetsPattern()));
}

std::map<std::string, FieldRule> AllRules() {
  const std::string uri_word = "[a-zA-Z0-9_][a-zA-Z0-9._-]*";
  const FieldRule script =
      TextRule(R"(^[^\x00]*$)", R"(^#![^\n]*\r(\n|$))");  // a carriage return after the interpreter
  return {
      {"rum.Image.base", TextRule(R"(^[^\x00-\x1f\x7f]+$)")},
      {"rum.Image.sha256", TextRule("^[0-9a-fA-F]{64}$", "", 0, true)},
      {"rum.Resources.cpus", RangeRule(1, 4096, ", as no QEMU has more")},
      {"rum.Resources.memory_mb", RangeRule(256, uint64_t{1} << 32)},
      {"rum.Resources.max_cpus", RangeRule(1, 4096, ", as no QEMU has more")},
      {"rum.Resources.max_memory_mb", RangeRule(256, uint64_t{1} << 32)},
      {"rum.Resources.disk", RangeRule(kLeastRootDisk, kMostBytes)},
      {"rum.Network.hostname", TextRule(HostnamePattern(), "^([0-9.]+|localhost)$", 64)},
      {"rum.Network.ip_wait_timeout_s", RangeRule(0, kWeek, ", a week")},
      {"rum.Interface.network", TextRule(R"(^[^/\x00-\x1f\x7f]+$)", R"(^ | $|^\.\.?$)", kMostName)},
      {"rum.Interface.ip", TextRule(CardAddressPattern(), "", 0, true)},
      {"rum.Provision.timeout_s", RangeRule(0, kWeek, ", a week")},
      {"rum.Script.script", script},
      {"rum.Port.host", RangeRule(1, 65535)},
      {"rum.Port.guest", RangeRule(1, 65535)},
      {"rum.Port.bind", TextRule(BindPattern())},
      {"rum.User.name", TextRule("^[a-z_][a-z0-9_-]{0,31}$", SystemAccountsPattern())},
      {"rum.User.groups",
       TextRule(R"(^[^-+~\x00-\x20\x7f:,/#][^\x00-\x20\x7f:,/#]*$)", R"(^([0-9]+|\.\.?)$)", 32)},
      {"rum.Ssh.user",
       TextRule(R"(^[^-\x00-\x20\x7f:/"'`$\\;&|<>][^\x00-\x20\x7f:/"'`$\\;&|<>]*$)", "", 0, true)},
      {"rum.Ssh.command", TextRule(R"(^[^\x00-\x1f\x7f]+$)", " -")},
      {"rum.Ssh.interface", TextRule(kNoControl)},
      // The base64 of any key begins with the length of its type.
      {"rum.Ssh.authorized_keys", TextRule(R"((ssh-|ecdsa-)[^ \t]*[ \t]+AAAA)")},
      {"rum.Mount.source", TextRule("^[^\\x00]+$")},
      {"rum.Mount.target", TargetRule()},
      {"rum.Mount.tag", TextRule(kNoControl, "", 36)},
      {"rum.Drive.size", RangeRule(kLeastDrive, kMostBytes)},
      {"rum.Fs.target", TargetRule()},
      {"rum.Fs.pool",
       TextRule("^[a-zA-Z][a-zA-Z0-9._-]*$", "^(mirror|raidz|draid|spare|log$)", 255, true)},
      {"rum.Advanced.libvirt_uri",
       TextRule(absl::StrCat(R"(^(qemu:///(system|session)|test:///[^\x00-\x20\x7f%?#]+|)",
                             "qemu\\+(ssh|tls|tcp)://(", uri_word, "@)?(", uri_word,
                             R"(|\[[0-9a-fA-F:.]+\])(:[0-9]+)?/(system|session))$)"),
                "", 0, true)},
      {"rum.Advanced.domain_type", WordsRule({"auto", "kvm", "qemu"}, false)},
      {"rum.Advanced.machine", TextRule(kMachineNamePattern)},
      {"rum.Guest.timezone", TimezoneRule()},
      {"rum.Reconcile.restart", WordsRule({"on-crash", "always", "never"}, true)},
  };
}

}  // namespace

const FieldRule& RuleOf(const google::protobuf::FieldDescriptor& field) {
  static const auto* const rules = new std::map<std::string, FieldRule>(AllRules());
  static const auto* const none = new FieldRule;
  const auto found = rules->find(field.full_name());
  return found == rules->end() ? *none : found->second;
}

const FieldRule& RuleAt(const std::string& path) { return RuleOf(*FieldsAlong(path).back()); }

}  // namespace rum
