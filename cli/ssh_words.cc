#include "cli/ssh_words.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace rum {

std::string ShellWord(const std::string& word) {
  return absl::StrCat("'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
}

std::string ShortShellWord(const std::string& word) {
  constexpr char kPlain[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%,";
  return !word.empty() && word.find_first_not_of(kPlain) == std::string::npos ? word
                                                                              : ShellWord(word);
}

std::string ConfigPath(const std::string& path) {
  return absl::StrCat(
      "\"", absl::StrReplaceAll(path, {{"\\", "\\\\"}, {"\"", "\\\""}, {"%", "%%"}}), "\"");
}

namespace {

constexpr char kLetters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

// Letters, digits and `more`; not empty, and not an option.
bool IsPlainWord(const std::string& word, const std::string& more) {
  return !word.empty() && word[0] != '-' &&
         word.find_first_not_of(kLetters + more) == std::string::npos;
}

// The controller is another process, and half of what it says is from the file.
absl::Status Judge(const control::SshReply& machine) {
  const auto wrong = [](const std::string& what, const std::string& value) {
    return absl::InvalidArgumentError(absl::StrCat("ssh cannot be given such ", what, ": ", value));
  };
  if (!IsPlainWord(machine.host(), "._-")) return wrong("a host", machine.host());
  if (!IsPlainWord(machine.user(), "._-@$")) return wrong("a user (ssh.user)", machine.user());
  for (const std::string& path : {machine.key_path(), machine.known_hosts_path()}) {
    // ${...} is an environment variable to ssh, and nothing takes its meaning away.
    if (path.empty() || path[0] != '/' || path.find("${") != std::string::npos)
      return wrong("a path", path);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SshOptions> OptionsFor(const control::SshReply& machine,
                                      const std::vector<std::string>& proxy) {
  if (absl::Status judged = Judge(machine); !judged.ok()) return judged;
  std::string command;  // which ssh puts its own `exec` before
  for (const std::string& word : proxy) {
    absl::StrAppend(&command, command.empty() ? "" : " ",
                    absl::StrReplaceAll(ShellWord(word), {{"%", "%%"}}));
  }
  const SshOptions options = {
      // Which machine. Its name is its address, so that %h, %n and the like differ for each.
      {"User", machine.user()},
      {"HostName", machine.host()},
      {"Port", "22"},
      {"HostKeyAlias", machine.host()},
      {"ProxyCommand", command},
      {"ProxyUseFdpass", "no"},
      {"CanonicalizeHostname", "no"},
      {"ControlMaster", "no"},
      {"ControlPath", "none"},
      {"ControlPersist", "no"},
      // By which key.
      {"IdentityFile", ConfigPath(machine.key_path())},
      {"IdentitiesOnly", "yes"},
      {"AddKeysToAgent", "no"},
      {"PKCS11Provider", "none"},
      {"PubkeyAuthentication", "yes"},
      {"PreferredAuthentications", "publickey,keyboard-interactive,password"},
      // Who it is: what the agent read in the guest, and nobody else's word.
      {"UserKnownHostsFile", ConfigPath(machine.known_hosts_path())},
      {"GlobalKnownHostsFile", "/dev/null"},
      {"KnownHostsCommand", "none"},
      {"StrictHostKeyChecking", "yes"},
      {"UpdateHostKeys", "no"},
      {"VerifyHostKeyDNS", "no"},
      {"CheckHostIP", "no"},
      {"NoHostAuthenticationForLocalhost", "no"},
      // What is done there, and here.
      {"RemoteCommand", "none"},
      {"RequestTTY", "auto"},
      {"StdinNull", "no"},
      {"ForkAfterAuthentication", "no"},
      {"PermitLocalCommand", "no"}};
  for (const auto& [name, value] : options) {
    if (value.find_first_of(std::string("\n\r\0", 3)) != std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("ssh cannot be given such a path: ", name, " ", value));
    }
  }
  return options;
}

absl::StatusOr<std::string> SshProgram(const std::string& in_file, const char* environment) {
  const std::string users = environment == nullptr ? "" : environment;
  if (in_file.empty() || in_file == "ssh" || in_file == users) return users.empty() ? "ssh" : users;
  return absl::FailedPreconditionError(absl::StrCat(
      "ssh.command = \"", in_file, "\": which program runs on this computer is not for a file to ",
      "say. To use it, set RUM_SSH to the same in your environment (now ",
      users.empty() ? "not set" : "\"" + users + "\"", "); else take the line out"));
}

std::string FindProgram(const std::string& program, const char* path) {
  if (program.find('/') != std::string::npos) return program;
  for (const auto& folder : absl::StrSplit(path == nullptr ? "/usr/bin:/bin" : path, ':')) {
    const std::string place = absl::StrCat(folder, "/", program);
    if (place[0] == '/' && !folder.empty() && access(place.c_str(), X_OK) == 0) return place;
  }
  return "";
}

std::vector<std::string> SshWords(const std::string& program, const control::SshReply& machine,
                                  const SshOptions& options, const std::vector<std::string>& more,
                                  bool terminal) {
  // As distributions set it for all hosts.
  std::vector<std::string> words = {program, "-F", "/dev/null", "-o", "SendEnv=LANG LC_*"};
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

bool IsHostAlias(const std::string& host) { return IsPlainWord(host, "._-:@+"); }

std::string SshConfig(const std::string& host, const SshOptions& options) {
  std::string text = absl::StrCat("Host ", host, "\n");
  for (const auto& [name, value] : options) absl::StrAppend(&text, "  ", name, " ", value, "\n");
  // Not among the others: on a command line ssh takes these for another one of its -N, -s and -w.
  absl::StrAppend(&text, "  SessionType default\n  Tunnel no\n");
  return text;
}

}  // namespace rum
