#include "cli/folder_ports.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "state/file.h"
#include "state/names.h"
#include "state/port_range.h"

namespace rum {
namespace {

constexpr size_t kMostOfAFile = size_t{256} << 10;  // of a file that a person wrote
constexpr size_t kMostProposed = 8;
constexpr uint32_t kFirstFree = 1024;  // ports below are root's

// A forward to the ports of `range`, each from the same port of the host or from one that everybody
// may take: 80 from 8080, 443 from 8443.
ProposedPort Proposal(const PortRange& range, const std::string& from) {
  const uint32_t shift = range.first < kFirstFree ? 8000 : 0;
  std::string host = absl::StrCat(range.first + shift);
  if (range.last > range.first) absl::StrAppend(&host, "-", range.last + shift);
  return {host, absl::StrCat(range.first), from};
}

// "${PORT:-8080}" is 8080; empty where there is a variable without a default, which no file says.
std::string WithDefaults(std::string text) {
  for (size_t begin; (begin = text.find("${")) != std::string::npos;) {
    const size_t end = text.find('}', begin);
    if (end == std::string::npos) return "";
    const std::string inner = text.substr(begin + 2, end - begin - 2);
    const size_t dash = inner.find('-');
    if (dash == std::string::npos) return "";
    text.replace(begin, end + 1 - begin, inner.substr(dash + 1));
  }
  return text;
}

// "127.0.0.1:8080:80/tcp", "8080:80", "80": the port that is published, where it is one of TCP.
std::optional<PortRange> PublishedByWord(const std::string& word) {
  std::string text = WithDefaults(word);
  if (absl::EndsWith(text, "/udp") || absl::EndsWith(text, "/sctp")) return std::nullopt;
  text = text.substr(0, text.find('/'));
  const size_t colon = text.rfind(':');
  const std::optional<PortRange> guest =
      ParsePortRange(colon == std::string::npos ? text : text.substr(colon + 1));
  if (colon == std::string::npos || !guest) return guest;
  const std::string before = text.substr(0, colon);
  const std::string host = before.substr(before.rfind(':') + 1);  // npos + 1 is 0
  return host.empty() ? guest : ParsePortRange(host);
}

std::string ScalarOf(const YAML::Node& map, const char* key) {
  const YAML::Node value = map[key];
  return value.IsDefined() && value.IsScalar() ? value.Scalar() : "";
}

std::optional<PortRange> Published(const YAML::Node& port) {
  if (port.IsScalar()) return PublishedByWord(port.Scalar());
  if (!port.IsMap()) return std::nullopt;
  const std::string protocol = ScalarOf(port, "protocol");
  if (!protocol.empty() && protocol != "tcp") return std::nullopt;
  const std::string published = WithDefaults(ScalarOf(port, "published"));
  return ParsePortRange(published.empty() ? WithDefaults(ScalarOf(port, "target")) : published);
}

void AddServices(const YAML::Node& services, const std::string& file,
                 std::vector<ProposedPort>* proposed) {
  if (!services.IsMap()) return;
  for (const auto& service : services) {
    if (!service.first.IsScalar() || !service.second.IsMap()) continue;
    const YAML::Node ports = service.second["ports"];
    if (!ports.IsDefined() || !ports.IsSequence()) continue;
    const std::string& name = service.first.Scalar();
    for (const YAML::Node& port : ports) {
      const std::optional<PortRange> range = Published(port);
      if (!range || proposed->size() == kMostProposed) continue;
      proposed->push_back(Proposal(
          *range,
          absl::StrCat(file, " publishes it", IsMachineName(name) ? " (" + name + ")" : "")));
    }
  }
}

// "3000" of "-p 3000", "--port=3000", "PORT=3000", "0.0.0.0:3000", "${PORT:-3000}".
std::optional<PortRange> PortOfCommand(const std::string& command) {
  const std::vector<std::string> words =
      absl::StrSplit(command, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  bool variable = false;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    variable = variable || absl::StrContains(word, "$PORT") || absl::StrContains(word, "${PORT}");
    const bool option = word == "-p" || word == "-P" || word == "--port" || word == "runserver";
    std::string value = option && i + 1 < words.size() ? words[i + 1] : word;
    value = WithDefaults(value);
    const size_t cut = value.find_last_of(":=");
    const bool told =
        option || absl::StartsWith(word, "--port=") || absl::StartsWith(word, "PORT=") ||
        (cut != std::string::npos && value[cut] == ':') || absl::StrContains(word, "${PORT:-");
    if (!told) continue;
    if (cut != std::string::npos) value = value.substr(cut + 1);
    const std::optional<PortRange> port = ParsePortRange(value);
    if (port && port->first == port->last) return port;
  }
  // What foreman and its like give the first process.
  return variable ? ParsePortRange("5000") : std::nullopt;
}

}  // namespace

std::vector<ProposedPort> PortsOfCompose(const std::string& text, const std::string& file) {
  std::vector<ProposedPort> proposed;
  try {
    const YAML::Node root = YAML::Load(text);
    if (root.IsMap() && root["services"].IsDefined())
      AddServices(root["services"], file, &proposed);
  } catch (const YAML::Exception&) {
    proposed.clear();  // docker compose says what is wrong with it
  }
  return proposed;
}

std::vector<ProposedPort> PortsOfProcfile(const std::string& text, const std::string& file) {
  std::vector<ProposedPort> proposed;
  for (const absl::string_view line :
       absl::StrSplit(text, absl::ByAnyChar("\r\n"), absl::SkipEmpty())) {
    const size_t colon = line.find(':');
    if (colon == absl::string_view::npos || absl::StartsWith(line, "#")) continue;
    const std::string name(absl::StripAsciiWhitespace(line.substr(0, colon)));
    const std::optional<PortRange> port = PortOfCommand(std::string(line.substr(colon + 1)));
    if (!port || !IsMachineName(name) || proposed.size() == kMostProposed) continue;
    proposed.push_back(Proposal(*port, absl::StrCat(file, " listens on it (", name, ")")));
  }
  return proposed;
}

std::vector<ProposedPort> PortsOfFolder(const std::string& folder) {
  std::vector<ProposedPort> all;
  // In the order in which docker compose looks for them: it takes the first.
  for (const char* name :
       {"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}) {
    const absl::StatusOr<std::string> text = ReadRegularFile(folder + "/" + name, kMostOfAFile);
    if (!text.ok()) continue;
    all = PortsOfCompose(*text, name);
    break;
  }
  if (const auto text = ReadRegularFile(folder + "/Procfile", kMostOfAFile); text.ok()) {
    const std::vector<ProposedPort> more = PortsOfProcfile(*text, "Procfile");
    all.insert(all.end(), more.begin(), more.end());
  }
  std::vector<ProposedPort> apart;
  for (const ProposedPort& port : all) {
    const bool taken = std::any_of(apart.begin(), apart.end(), [&](const ProposedPort& other) {
      return SharePort(port.host, other.host);
    });
    if (!taken) apart.push_back(port);
  }
  return apart;
}

bool SharePort(const std::string& a, const std::string& b) {
  const std::optional<PortRange> one = ParsePortRange(a), other = ParsePortRange(b);
  return one && other && one->first <= other->last && other->first <= one->last;
}

}  // namespace rum
