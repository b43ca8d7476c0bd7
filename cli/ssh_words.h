#ifndef RUM_CLI_SSH_WORDS_H_
#define RUM_CLI_SSH_WORDS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/service/control.pb.h"

namespace rum {

// One word for a POSIX shell, whatever is in it.
std::string ShellWord(const std::string& word);

// A path as ssh_config(5) reads it: quoted, without tokens to expand.
std::string ConfigPath(const std::string& path);

// Names and values of ssh_config(5) for a machine. `proxy`: the command that connects, as words.
// InvalidArgument: one of the words cannot stand in such a file.
using SshOptions = std::vector<std::pair<std::string, std::string>>;
absl::StatusOr<SshOptions> OptionsFor(const control::SshReply& machine,
                                      const std::vector<std::string>& proxy);

// ssh and its words. `more` is put behind the host: options of ssh, a command. Without any, a shell
// that starts in the machine's folder.
std::vector<std::string> SshWords(const control::SshReply& machine, const SshOptions& options,
                                  const std::vector<std::string>& more, bool terminal);

// A `Host` block of ssh_config(5).
std::string SshConfig(const std::string& host, const SshOptions& options);

}  // namespace rum

#endif  // RUM_CLI_SSH_WORDS_H_
