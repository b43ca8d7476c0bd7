#include "cli/first_file.h"

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "state/names.h"
#include "state/size.h"
// The last one.
#include "state/toml_library.h"

namespace rum {
namespace {

constexpr char kProjectTarget[] = "/work";

// In double quotes, on one line.
std::string Toml(const std::string& text) {
  const toml::value<std::string> value(text);
  std::ostringstream out;
  out << toml::toml_formatter(value, toml::format_flags::allow_unicode_strings);
  return out.str();
}

// A number as it stands, a range as text.
std::string TomlPort(const std::string& port) {
  return absl::StrContains(port, "-") ? Toml(port) : port;
}

// `mark` before each line: "#" for an example.
void AddPort(const std::string& mark, const FirstPort& port, std::string* text) {
  absl::StrAppend(text, mark, "[[ports]]\n");
  if (port.host.empty()) {
    absl::StrAppend(text, mark, "auto = true\n");
  } else {
    absl::StrAppend(text, mark, "host = ", TomlPort(port.host), "\n");
  }
  absl::StrAppend(text, mark, "guest = ", TomlPort(port.guest), "\n");
  if (!port.bind.empty()) absl::StrAppend(text, mark, "bind = ", Toml(port.bind), "\n");
}

void AddPorts(const FirstFile& first, std::string* text) {
  absl::StrAppend(text, "\n# Ports of this host that lead into the guest. Live.\n");
  for (const FirstPort& port : first.ports) AddPort("", port, text);
  bool examples = !first.ports.empty();
  for (const ProposedPort& port : first.proposed) {
    examples = true;
    absl::StrAppend(text, "# ", port.from, ":\n");
    AddPort("#", {"", port.host, port.guest}, text);
  }
  if (!examples) AddPort("#", {"", "8080", "80"}, text);
}

void AddMount(const std::string& mark, const FirstMount& mount, bool is_default,
              std::string* text) {
  absl::StrAppend(text, mark, "[[mounts]]\n", mark, "source = ", Toml(mount.source), "\n", mark,
                  "target = ", Toml(mount.target), "\n");
  if (is_default) absl::StrAppend(text, mark, "default = true\n");
}

void AddMounts(const FirstFile& first, std::string* text) {
  absl::StrAppend(text,
                  "\n# Folders of this host in the guest; `rum exec` and `rum ssh` start in the "
                  "default one. At the next start.\n");
  for (const FirstMount& mount : first.mounts) {
    AddMount("", mount, &mount == &first.mounts[0], text);
  }
  if (first.mounts.empty()) AddMount("#", {".", kProjectTarget}, true, text);
}

}  // namespace

absl::StatusOr<FirstPort> ParseFirstPort(const std::string& word) {
  const auto digits = [](const std::string& part) {
    return !part.empty() && part.find_first_not_of("0123456789-") == std::string::npos;
  };
  const size_t last = word.rfind(':');
  FirstPort port;
  port.guest = last == std::string::npos ? word : word.substr(last + 1);
  std::string before = last == std::string::npos ? word : word.substr(0, last);
  if (const size_t bind = before.rfind(':');
      last != std::string::npos && bind != std::string::npos) {
    port.bind = before.substr(0, bind);
    before.erase(0, bind + 1);
    if (port.bind.size() > 2 && port.bind.front() == '[' && port.bind.back() == ']') {
      port.bind = port.bind.substr(1, port.bind.size() - 2);
    }
  }
  port.host = before;
  if (digits(port.guest) && (port.host.empty() || digits(port.host))) return port;
  return absl::InvalidArgumentError(absl::StrCat(
      Quoted(word), " is no port: 8080:80 leads port 8080 of this host to port 80 of the guest"));
}

absl::StatusOr<FirstMount> ParseFirstMount(const std::string& word) {
  const size_t colon = word.rfind(":/");
  FirstMount mount;
  mount.source = word.substr(0, colon);
  if (mount.source.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(word), " names no folder: `.` is this one, SOURCE:TARGET another"));
  }
  if (colon != std::string::npos) {
    mount.target = word.substr(colon + 1);
  } else if (mount.source == "." || mount.source == "git") {
    mount.target = kProjectTarget;
  } else {
    std::filesystem::path source(mount.source);
    if (source.filename().empty()) source = source.parent_path();
    const std::string name = source.filename();
    if (name.empty() || name == "." || name == ".." || name == "~") {
      return absl::InvalidArgumentError(absl::StrCat(
          Quoted(word), " does not say where in the guest: ", mount.source, ":/mnt/NAME"));
    }
    mount.target = "/mnt/" + name;
  }
  return mount;
}

absl::StatusOr<uint64_t> ParseFirstMemory(const std::string& word) {
  constexpr uint64_t kMib = uint64_t{1} << 20;
  const bool bare = !word.empty() && word.find_first_not_of("0123456789") == std::string::npos;
  const auto size = ParseSize(bare ? word + "M" : word);
  if (size && *size % kMib == 0) return *size / kMib;
  return absl::InvalidArgumentError(
      absl::StrCat(Quoted(word), " is no amount of memory: 2G, 1536M, or a number of MiB"));
}

void LeaveOutTaken(FirstFile* first) {
  const auto taken = [&](const ProposedPort& port) {
    return std::any_of(first->ports.begin(), first->ports.end(),
                       [&](const FirstPort& is) { return SharePort(is.host, port.host); });
  };
  std::vector<ProposedPort>& all = first->proposed;
  all.erase(std::remove_if(all.begin(), all.end(), taken), all.end());
}

std::string FirstFileText(const FirstFile& first) {
  std::string text;
  if (!first.schema.empty()) absl::StrAppend(&text, "#:schema ", first.schema, "\n");
  absl::StrAppend(
      &text,
      "# A machine: `rum up` makes it, and what is changed here while it runs is applied to it.\n"
      "# Lines with # and no space behind it are examples: take the # away.\n"
      "# `rum explain` says what each field is and what a change costs, `rum check` whether the "
      "file is right.\n"
      "\n[image]\n"
      "# A shorthand (debian-12, ubuntu-24.04, fedora-43, alpine-3.22 ...), a path or a URL. A "
      "change needs a fresh disk.\n"
      "base = ",
      Toml(first.image),
      "\n\n# A change counts from the next start: `rum down && rum up`.\n[resources]\ncpus = ",
      first.cpus, "\nmemory_mb = ", first.memory_mb, "\n",
      first.disk.empty() ? "#disk = \"20G\"" : "disk = " + Toml(first.disk), "\n");
  absl::StrAppend(&text, "\n#[network]\n#hostname = ", Toml(first.hostname), "\n");
  AddPorts(first, &text);
  AddMounts(first, &text);
  absl::StrAppend(&text,
                  "\n# Groups of the guest's user. Live.\n"
                  "#[user]\n"
                  "#groups = [\"docker\"]\n"
                  "\n# Runs once for the disk.\n"
                  "#[provision.system]\n"
                  "#script = \"apt-get update && apt-get install -y nginx\"\n"
                  "\n# Runs once in each boot, and again when it is changed.\n"
                  "#[provision.boot]\n"
                  "#script = \"systemctl start nginx\"\n");
  return text;
}

}  // namespace rum
