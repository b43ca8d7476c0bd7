#include "tests/fuzz/toml_grammar.h"

#include <algorithm>
#include <map>

#include "absl/strings/match.h"
#include "state/config.pb.h"
#include "state/schema.h"

namespace rum {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

using Words = std::vector<std::string>;

// What a person writes there. Drives are few, so that filesystems meet them.
const Words& Usual(const std::string& field) {
  static const auto* const usual = new std::map<std::string, Words>{
      {"base", {"./debian.qcow2", "debian-12", "https://example.org/a.qcow2", "file:///a.raw"}},
      {"sha256", {"", std::string(64, 'a'), std::string(64, 'F')}},
      {"hostname", {"dev", "dev.example", "a-b", "x"}},
      {"network", {"lan", "default", "lab 1", "a'b"}},
      {"ip", {"", "192.168.50.9", "10.0.0.2", "172.16.1.254"}},
      {"script", {"", "true", "echo 'a' \"b\"\n", "#!/bin/bash\nset -e\n", "[ports]\nhost = 1"}},
      {"bind", {"127.0.0.1", "127.0.0.2", "::1", "0.0.0.0"}},
      {"name", {"rum", "ada", "_x"}},
      {"groups", {"docker", "video", "wheel"}},
      {"user", {"", "rum", "root"}},
      {"command", {"ssh", "/usr/bin/ssh"}},
      {"interface", {"", "lan"}},
      {"authorized_keys",
       {"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJzzpIIkMdRmfnopXH6odGLyDS4kHRm511No822IvLRZ "
        "me@here"}},
      {"source", {".", "./"}},
      {"target", {"/a", "/b c", "/d'e", "/f/g", "/h\"i", "/j\\k", "/l#m", "/n\xc3\xa4"}},
      {"tag", {"", "src", "code"}},
      {"drive", {"a", "b"}},
      {"drives", {"c", "d"}},
      {"mode", {"", "raid1", "single", "mirror"}},
      {"pool", {"", "tank"}},
      {"libvirt_uri", {"", "qemu:///session", "qemu:///system"}},
      {"domain_type", {"auto", "kvm", "qemu"}},
      {"restart", {"on-crash", "always", "never"}},
      {"machine", {"q35", "pc"}}};
  static const Words none = {"", "x"};
  const auto found = usual->find(field);
  return found == usual->end() ? none : found->second;
}

// As a basic string of TOML.
std::string Quoted(const std::string& content) {
  std::string text = "\"";
  for (const char c : content) {
    if (c == '"' || c == '\\') text += '\\';
    text += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return text + "\"";
}

bool Has(const std::string& text, const char* what) { return text.find(what) != std::string::npos; }

}  // namespace

std::string TomlGrammar::File() {
  blocks_.clear();
  static constexpr size_t kOddities[] = {1000000, 1000000, 100, 20, 4};
  oddity_ = Any(kOddities);
  Write(*Config::descriptor(), "");
  std::shuffle(blocks_.begin(), blocks_.end(), random_);
  std::string text;
  for (const std::string& block : blocks_) text += block + (OneIn(3) ? "\n# then\n" : "");
  return text;
}

void TomlGrammar::Write(const Descriptor& table, const std::string& header) {
  std::string block = header;
  const std::string path = header.substr(std::min(header.find_first_not_of('['), header.size()));
  const std::string name = path.substr(0, path.find(']'));
  for (int i = 0; i < table.field_count(); ++i) {
    const FieldDescriptor& field = *table.field(i);
    if (!IsKey(field)) continue;
    if (field.type() == FieldDescriptor::TYPE_MESSAGE) {
      WriteBelow(field, name.empty() ? field.name() : name + "." + field.name());
    } else {
      block += Line(field);
    }
  }
  if (OneIn(oddity_)) block += "memory_md = " + Wrong() + "\n";
  if (!header.empty()) blocks_.push_back(block);
}

void TomlGrammar::WriteBelow(const FieldDescriptor& field, const std::string& path) {
  const bool required = path == "image" || path == "resources";
  if (!field.is_repeated()) {
    if (required ? !OneIn(oddity_) : OneIn(2)) Write(*field.message_type(), "[" + path + "]\n");
    return;
  }
  if (!field.is_map()) {
    const size_t count = OneIn(oddity_) ? 3 : Below(2);
    for (size_t i = 0; i < count; ++i) Write(*field.message_type(), "[[" + path + "]]\n");
    return;
  }
  if (path == "drives") {
    for (const char* name : {"a", "b", "c", "d"}) {
      if (!OneIn(oddity_)) blocks_.push_back("[drives." + std::string(name) + "]\nsize = \"1G\"\n");
    }
    return;
  }
  const Descriptor& entry = *Fs::descriptor();
  static const Words kTypes = {"ext4", "xfs", "btrfs", "zfs", "vfat", "ntfs"};
  if (!OneIn(3)) Write(entry, "[[fs." + (OneIn(oddity_) ? "ext 9" : Any(kTypes)) + "]]\n");
}

std::string TomlGrammar::Line(const FieldDescriptor& field) {
  // Fields that exclude each other are seldom together.
  static const Words kSeldom = {"drives", "mode", "pool", "libvirt_uri"};
  const bool seldom = std::count(kSeldom.begin(), kSeldom.end(), field.name()) > 0;
  const bool needed = field.name() == "base" || field.name() == "cpus" ||
                      field.name() == "memory_mb" || field.name() == "target" ||
                      field.name() == "source" || field.name() == "network" ||
                      field.name() == "host" || field.name() == "guest" || field.name() == "drive";
  if (needed ? OneIn(oddity_) : OneIn(seldom ? 1 : 2) && !(seldom && OneIn(6))) return "";
  const std::string space = OneIn(4) ? "  " : " ";
  const std::string name = OneIn(8) ? Quoted(field.name()) : field.name();
  return name + space + "=" + space + (OneIn(oddity_) ? Wrong() : Value(field)) +
         (OneIn(6) ? " # why\n" : "\n");
}

std::string TomlGrammar::Value(const FieldDescriptor& field) {
  static const Words kRoom = {"4096", "2048", "4"};
  static const Words kNumbers = {"1", "2", "4", "80", "8_080", "0x1F90", "1024", "65535"};
  static const Words kMemory = {"256", "1024", "0b1_0000_0000", "0o2000", "65_536"};
  static const Words kSizes = {"\"20G\"",    "'64MiB'",   "\"1tb\"",
                               "1073741824", "\"512 M\"", "\"30g\""};
  if (field.is_repeated()) {
    std::string list = "[";
    for (size_t i = Below(3); i > 0; --i) list += Text(Any(Usual(field.name()))) + ", ";
    return list + "]";
  }
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return OneIn(2) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_STRING:
      return Text(Any(Usual(field.name())));
    default:
      if (field.name() == "memory_mb") return Any(kMemory);
      if (absl::StartsWith(field.name(), "max_")) return Any(kRoom);
      return field.name() == "disk" || field.name() == "size" ? Any(kSizes) : Any(kNumbers);
  }
}

std::string TomlGrammar::Text(const std::string& content) {
  const bool plain = !Has(content, "'") && !Has(content, "\n");
  switch (Below(4)) {
    case 0:
      return plain ? "'" + content + "'" : Quoted(content);
    case 1:
      return Has(content, "'''") || (!content.empty() && content.back() == '\'')
                 ? Quoted(content)
                 : "'''\n" + content + "'''";
    default:
      return Quoted(content);
  }
}

std::string TomlGrammar::Wrong() {
  static const Words kWrong = {"-1",          "0",         "70000",      "99999999999999999999",
                               "1e3",         "nan",       "true",       "[]",
                               "{}",          "'''",       "\"",         "\"\\u0000\"",
                               "[[1], 'x']",  "{a=",       "2026-01-01", "\"../../etc\"",
                               "\"\\ud800\"", "\"-rf /\"", "\"a\\nb\"",  "inf"};
  return Any(kWrong);
}

}  // namespace rum
