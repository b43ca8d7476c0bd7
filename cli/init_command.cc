#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "cli/commands.h"
#include "cli/first_file.h"
#include "cli/json_text.h"
#include "cli/render.h"
#include "cli/reports.pb.h"
#include "cli/terminal_text.h"
#include "controller/base/utf8.h"
#include "controller/images/shorthands.h"
#include "state/identity.h"
#include "state/names.h"
#include "state/paths.h"
#include "state/toml_reader.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

struct InitWords {
  std::string file;
  std::string name;
  std::string memory = "2G";
  std::vector<std::string> ports;
  std::vector<std::string> mounts;
  bool ask = false;
  FirstFile first;
};

// Where the package has put the schema for editors; empty: there is none.
std::string InstalledSchemaPath() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  const fs::path path = self.parent_path().parent_path() / "share/rum/rum.schema.json";
  return fs::is_regular_file(path, error) ? path.string() : "";
}

// Wrong words: what is written must be right.
void Refuse(Globals* globals, const std::string& why) {
  Fail(globals, why + "; nothing was written");
  globals->exit_status = 2;
}

using OptionNames = std::vector<std::pair<std::string, std::string>>;

// Of the nth one of several, and of a key of it.
void NamePart(const std::string& field, size_t n, const std::string& option, OptionNames* names) {
  names->emplace_back(absl::StrCat(field, "[", n, "]."), option + ": ");
  names->emplace_back(absl::StrCat(field, "[", n, "]"), option);
}

// A problem of the file in the words of who said it by options.
std::string InOptions(const std::string& message, const InitWords& words) {
  OptionNames names = {{"image.base", "--image"},
                       {"resources.cpus", "--cpus"},
                       {"resources.memory_mb", "--memory"},
                       {"resources.disk", "--disk"}};
  for (size_t i = 0; i < words.ports.size(); ++i)
    NamePart("ports", i, "--port " + words.ports[i], &names);
  for (size_t i = 0; i < words.mounts.size(); ++i)
    NamePart("mounts", i, "--mount " + words.mounts[i], &names);
  return absl::StrReplaceAll(message, names);
}

// TOML is UTF-8, and nothing of it may be lost.
absl::Status AllUtf8(const InitWords& words) {
  std::vector<std::string> all = {words.first.image, words.first.disk};
  all.insert(all.end(), words.ports.begin(), words.ports.end());
  all.insert(all.end(), words.mounts.begin(), words.mounts.end());
  for (const std::string& word : all) {
    if (!IsUtf8(word)) return absl::InvalidArgumentError(ToUtf8(word) + " is not UTF-8");
  }
  return absl::OkStatus();
}

absl::Status Parse(const InitWords& words, FirstFile* first) {
  if (const absl::Status utf8 = AllUtf8(words); !utf8.ok()) return utf8;
  const absl::StatusOr<uint64_t> memory = ParseFirstMemory(words.memory);
  if (!memory.ok())
    return absl::InvalidArgumentError("--memory " + std::string(memory.status().message()));
  first->memory_mb = *memory;
  for (const std::string& word : words.ports) {
    const absl::StatusOr<FirstPort> port = ParseFirstPort(word);
    if (!port.ok())
      return absl::InvalidArgumentError("--port " + std::string(port.status().message()));
    first->ports.push_back(*port);
  }
  for (const std::string& word : words.mounts) {
    const absl::StatusOr<FirstMount> mount = ParseFirstMount(word);
    if (!mount.ok())
      return absl::InvalidArgumentError("--mount " + std::string(mount.status().message()));
    first->mounts.push_back(*mount);
  }
  return absl::OkStatus();
}

// InvalidArgument: the words; else the file as it is to be.
absl::StatusOr<FirstFile> Compose(const InitWords& words, const MachineIdentity& identity,
                                  std::string* text) {
  FirstFile first = words.first;
  if (const absl::Status parsed = Parse(words, &first); !parsed.ok()) return parsed;
  first.hostname = HostnameFrom(identity.name);
  first.proposed = PortsOfFolder(fs::path(identity.config_path).parent_path());
  LeaveOutTaken(&first);
  first.schema = InstalledSchemaPath();
  *text = FirstFileText(first);
  const ParsedConfig parsed = ReadToml(*text, identity.config_path);
  std::vector<std::string> messages;
  for (const Problem& problem : parsed.problems)
    messages.push_back(InOptions(problem.message, words));
  if (messages.empty()) {
    const auto image = SourceOf(parsed.config.image().base(), "", HostArchitecture());
    if (image.ok()) return first;
    messages.push_back(InOptions(std::string(image.status().message()), words));
  }
  return absl::InvalidArgumentError(absl::StrJoin(messages, "; "));
}

// What is asked is shown on standard error; an empty answer takes what is in brackets. nullopt: the
// input ended.
std::optional<std::string> Answer(const std::string& question, const std::string& otherwise) {
  std::fprintf(stderr, "%s [%s]: ", question.c_str(), otherwise.c_str());
  std::string line;
  if (!std::getline(std::cin, line)) return std::nullopt;
  const std::string said(absl::StripAsciiWhitespace(line));
  return said.empty() ? otherwise : said;
}

// Asks until `take` has no objection.
bool AskFor(const std::string& question, const std::string& otherwise,
            const std::function<absl::Status(const std::string&)>& take) {
  for (;;) {
    const std::optional<std::string> said = Answer(question, otherwise);
    if (!said) return false;
    const absl::Status taken = take(*said == "none" ? "" : *said);
    if (taken.ok()) return true;
    std::fprintf(stderr, "  %s\n", OneLine(std::string(taken.message()), false).c_str());
  }
}

// Each answer is tried in the file as it would be.
bool AskAll(const MachineIdentity& identity, InitWords* words) {
  const auto try_with = [&](const std::function<void(InitWords*)>& change) -> absl::Status {
    InitWords changed = *words;
    change(&changed);
    std::string text;
    const auto composed = Compose(changed, identity, &text);
    if (composed.ok()) *words = changed;
    return composed.status();
  };
  const auto list = [](const std::string& said) -> std::vector<std::string> {
    return said.empty() ? std::vector<std::string>() : absl::StrSplit(said, ' ', absl::SkipEmpty());
  };
  std::vector<std::string> proposed = words->ports;
  for (const ProposedPort& port : PortsOfFolder(fs::path(identity.config_path).parent_path())) {
    if (words->ports.empty()) proposed.push_back(absl::StrCat(port.host, ":", port.guest));
  }
  const std::string ports = proposed.empty() ? "none" : absl::StrJoin(proposed, " ");
  return AskFor("Image: a shorthand, a path or a URL", words->first.image,
                [&](const std::string& said) {
                  return try_with([&](InitWords* to) { to->first.image = said; });
                }) &&
         AskFor("CPUs", absl::StrCat(words->first.cpus),
                [&](const std::string& said) -> absl::Status {
                  uint32_t cpus = 0;
                  if (!absl::SimpleAtoi(said, &cpus))
                    return absl::InvalidArgumentError("a number is asked for");
                  return try_with([&](InitWords* to) { to->first.cpus = cpus; });
                }) &&
         AskFor("Memory", words->memory,
                [&](const std::string& said) {
                  return try_with([&](InitWords* to) { to->memory = said; });
                }) &&
         AskFor("Disk", words->first.disk.empty() ? "20G" : words->first.disk,
                [&](const std::string& said) {
                  return try_with([&](InitWords* to) { to->first.disk = said; });
                }) &&
         AskFor("Ports, HOST:GUEST, several with spaces", ports,
                [&](const std::string& said) {
                  return try_with([&](InitWords* to) { to->ports = list(said); });
                }) &&
         AskFor("Share this folder with the guest, at /work? yes or no",
                words->mounts.empty() ? "no" : "yes", [&](const std::string& said) -> absl::Status {
                  const std::string lower = absl::AsciiStrToLower(said);
                  if (lower == "n" || lower == "no") {
                    words->mounts.clear();
                    return absl::OkStatus();
                  }
                  if (lower != "y" && lower != "yes")
                    return absl::InvalidArgumentError("yes or no");
                  if (!words->mounts.empty()) return absl::OkStatus();
                  return try_with([&](InitWords* to) { to->mounts = {"."}; });
                });
}

// AlreadyExists: something has that name.
absl::Status WriteNew(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd < 0 && errno == EEXIST) return absl::AlreadyExistsError("is there already");
  if (fd < 0) return absl::InternalError(absl::StrCat("create: ", std::strerror(errno)));
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    done += static_cast<size_t>(n);
  }
  const int error = errno;
  const bool closed = close(fd) == 0;
  if (done == text.size() && closed) return absl::OkStatus();
  unlink(path.c_str());  // made just now, and by nobody else
  return absl::InternalError(absl::StrCat("write: ", std::strerror(error)));
}

std::string Command(const std::string& file, const std::string& command) {
  return absl::StrCat("`", ToType(file, "", command), "`");
}

void SayIsThere(const std::string& file, Globals* globals) {
  const bool named = file != "rum.toml";
  Fail(globals,
       absl::StrCat(file, " is there already and was left as it is: ", Command(file, "check"),
                    " reads it, ", Command(file, "up"), " starts its machine",
                    named ? "" : "; `rum init --name NAME` writes NAME.rum.toml beside it"));
}

void SayWritten(const std::string& file, const MachineIdentity& identity, const FirstFile& first,
                const Globals& globals) {
  if (globals.output == "json") {
    reports::InitReport report;
    report.set_file(identity.config_path);
    report.set_machine(identity.name);
    std::fputs(ToJson(report).c_str(), stdout);
    return;
  }
  if (globals.quiet) return;
  const bool utf8 = StyleOf(globals).utf8;
  std::printf("Wrote %s: machine %s, %s, %s, %llu MiB\n", OneLine(file, utf8).c_str(),
              identity.name.c_str(), OneLine(first.image, utf8).c_str(),
              first.cpus == 1 ? "1 vCPU" : absl::StrCat(first.cpus, " vCPUs").c_str(),
              static_cast<unsigned long long>(first.memory_mb));
  for (const ProposedPort& port : first.proposed) {
    std::printf("  %s: port %s is in it as an example\n", port.from.c_str(), port.guest.c_str());
  }
  std::printf("Next: %s makes and starts it; `rum doctor` looks at this host first\n",
              OneLine(Command(file, "up -d"), utf8).c_str());
}

void Init(InitWords words, Globals* globals) {
  if (!globals->machine.empty())
    return Fail(globals, "init writes a first file; -m names a machine that is there");
  if (!words.name.empty() && !IsMachineName(words.name)) {
    return Refuse(globals, absl::StrCat("--name ", Quoted(words.name),
                                        ": a machine's name is made of letters, digits, '.', '_' "
                                        "and '-', and begins with a letter or a digit"));
  }
  std::string file = words.file.empty() ? globals->file : words.file;
  if (!words.name.empty()) file = words.name + ".rum.toml";
  const auto identity = IdentityOf(file);
  if (!identity.ok()) return Fail(globals, std::string(identity.status().message()));
  if (!IsUtf8(identity->config_path))
    return Fail(globals, "the path of the file is not UTF-8: " + identity->config_path);
  std::error_code error;
  if (fs::exists(fs::symlink_status(identity->config_path, error)))
    return SayIsThere(file, globals);
  if (words.ask && (isatty(STDIN_FILENO) == 0 || isatty(STDERR_FILENO) == 0))
    return Refuse(globals,
                  "--ask needs a terminal; without it the options say what there is to say");
  if (words.ask && !AskAll(*identity, &words)) {
    std::fputs("\n", stderr);
    return Fail(globals, "not all was answered: nothing was written");
  }
  std::string text;
  const absl::StatusOr<FirstFile> first = Compose(words, *identity, &text);
  if (!first.ok()) return Refuse(globals, std::string(first.status().message()));
  const absl::Status written = WriteNew(identity->config_path, text);
  if (absl::IsAlreadyExists(written)) return SayIsThere(file, globals);
  if (!written.ok()) return Fail(globals, absl::StrCat(file, ": ", std::string(written.message())));
  SayWritten(file, *identity, *first, *globals);
}

}  // namespace

void AddInitCommand(CLI::App* app, Globals* globals) {
  const auto words = std::make_shared<InitWords>();
  CLI::App* init = app->add_subcommand("init", "write a first rum.toml here");
  CLI::Option* file = init->add_option("-f,--file", words->file, "another name for it, as -c");
  init->add_option("--name", words->name, "the machine's name: writes NAME.rum.toml")
      ->excludes(file);
  init->add_option("--image", words->first.image, "a shorthand, a path or a URL")
      ->capture_default_str();
  init->add_option("--cpus", words->first.cpus, "vCPUs")->capture_default_str();
  init->add_option("--memory", words->memory, "2G, 1536M, or a number of MiB")
      ->capture_default_str();
  init->add_option("--disk", words->first.disk, "size of the root disk, such as 20G");
  init->add_option("--port", words->ports,
                   "[BIND:]HOST:GUEST, or PORT for both; may be said several times")
      ->allow_extra_args(false);
  init->add_option("--mount", words->mounts,
                   "`.` for this folder, or SOURCE:TARGET; may be said several times")
      ->allow_extra_args(false);
  init->add_flag("--ask", words->ask, "ask for each of these, at a terminal");
  init->callback([words, globals] { Init(*words, globals); });
}

}  // namespace rum
