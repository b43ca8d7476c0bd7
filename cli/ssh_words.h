#ifndef RUM_CLI_SSH_WORDS_H_
#define RUM_CLI_SSH_WORDS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/service/control.pb.h"

namespace rum {

// Writes one word for a POSIX shell, whatever is in it.
std::string ShellWord(const std::string& word);
// The same, without quotes around a word that needs none: for commands that people are to type.
std::string ShortShellWord(const std::string& word);

// A path as ssh_config(5) reads it: quoted, without tokens to expand.
std::string ConfigPath(const std::string& path);

// Names and values of ssh_config(5) for a machine: how it is reached, and everything by which a
// user's own settings for other hosts (`Host *`) could reach another machine than this one, run
// another command there, or take another key for its own. To ssh the first value of an option wins.
// `proxy`: the command that connects, as words. InvalidArgument: the controller named what no
// machine of ours has, or one of the words cannot stand in such a file.
using SshOptions = std::vector<std::pair<std::string, std::string>>;
absl::StatusOr<SshOptions> OptionsFor(const control::SshReply& machine,
                                      const std::vector<std::string>& proxy);

// The program that is started as ssh: the user's word, $RUM_SSH (`environment`; null or empty: not
// set), else ssh. `in_file` is the file's ssh.command, and may be a stranger's: it is heard only
// where it names the same program. FailedPrecondition says what to do.
absl::StatusOr<std::string> SshProgram(const std::string& in_file, const char* environment);

// Finds a program: a path as it stands, a name in the folders of `path` ($PATH). Not in "." and
// other folders that depend on where we are: a project must not bring an ssh of its own. Empty:
// nowhere.
std::string FindProgram(const std::string& program, const char* path);

// `program` and its words. `more` is put behind the host: options of ssh, a command. Without any, a
// shell that starts in the machine's folder. No ssh_config is read: some options there (forwards,
// identities) come on top of ours, whatever we say; `-F FILE` in `more` brings one back.
std::vector<std::string> SshWords(const std::string& program, const control::SshReply& machine,
                                  const SshOptions& options, const std::vector<std::string>& more,
                                  bool terminal);

// Whether `host` can name a block of ssh_config(5), and no more hosts than that one.
bool IsHostAlias(const std::string& host);

// A `Host` block of ssh_config(5).
std::string SshConfig(const std::string& host, const SshOptions& options);

}  // namespace rum

#endif  // RUM_CLI_SSH_WORDS_H_
