#include "cli/ssh_words.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace rum {

std::string ShellWord(const std::string& word) {
  return absl::StrCat("'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
}

std::string ConfigPath(const std::string& path) {
  return absl::StrCat(
      "\"", absl::StrReplaceAll(path, {{"\\", "\\\\"}, {"\"", "\\\""}, {"%", "%%"}}), "\"");
}

absl::StatusOr<SshOptions> OptionsFor(const control::SshReply& machine,
                                      const std::vector<std::string>& proxy) {
  std::string command;  // which ssh puts its own `exec` before
  for (const std::string& word : proxy) {
    absl::StrAppend(&command, command.empty() ? "" : " ",
                    absl::StrReplaceAll(ShellWord(word), {{"%", "%%"}}));
  }
  const SshOptions options = {{"User", machine.user()},
                              {"HostName", "127.0.0.1"},
                              {"HostKeyAlias", machine.host()},
                              {"ProxyCommand", command},
                              {"IdentityFile", ConfigPath(machine.key_path())},
                              {"IdentitiesOnly", "yes"},
                              {"UserKnownHostsFile", ConfigPath(machine.known_hosts_path())},
                              {"StrictHostKeyChecking", "yes"}};
  for (const auto& [name, value] : options) {
    // ${...} is an environment variable to ssh, and nothing takes its meaning away.
    if (value.find('\n') != std::string::npos ||
        (value[0] == '"' && value.find("${") != std::string::npos)) {
      return absl::InvalidArgumentError(
          absl::StrCat("ssh cannot be given such a path: ", name, " ", value));
    }
  }
  return options;
}

std::vector<std::string> SshWords(const control::SshReply& machine, const SshOptions& options,
                                  const std::vector<std::string>& more, bool terminal) {
  std::vector<std::string> words = {machine.command()};
  for (const auto& [name, value] : options) {
    words.push_back("-o");
    words.push_back(absl::StrCat(name, "=", value));
  }
  const bool in_folder = more.empty() && !machine.folder().empty();
  if (in_folder && terminal) words.push_back("-t");
  words.push_back(machine.host());
  words.insert(words.end(), more.begin(), more.end());
  if (in_folder)
    words.push_back(absl::StrCat("cd ", ShellWord(machine.folder()), "; exec \"$SHELL\" -l"));
  return words;
}

std::string SshConfig(const std::string& host, const SshOptions& options) {
  std::string text = absl::StrCat("Host ", host, "\n");
  for (const auto& [name, value] : options) absl::StrAppend(&text, "  ", name, " ", value, "\n");
  return text;
}

}  // namespace rum
