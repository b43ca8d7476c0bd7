#include "tests/bench/warm_ssh.h"

#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "tests/e2e/world.h"

namespace rum::bench {

WarmSsh::~WarmSsh() {
  if (!target_.empty()) e2e::Run(Argv({"-O", "exit", target_}));
}

std::vector<std::string> WarmSsh::Argv(const std::vector<std::string>& more) const {
  std::vector<std::string> argv = {"ssh", "-F", "/dev/null", "-i", folder_ + "/key"};
  for (const std::string& option :
       {std::string("BatchMode=yes"), std::string("LogLevel=ERROR"),
        std::string("StrictHostKeyChecking=no"), std::string("UserKnownHostsFile=/dev/null"),
        std::string("ConnectTimeout=10"), "ControlPath=" + folder_ + "/ssh"}) {
    argv.insert(argv.end(), {"-o", option});
  }
  argv.insert(argv.end(), more.begin(), more.end());
  return argv;
}

absl::StatusOr<std::string> WarmSsh::MakeKey() {
  const e2e::Result made =
      e2e::Run({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder_ + "/key"});
  if (made.exit_status != 0) return absl::InternalError("ssh-keygen: " + made.out + made.err);
  std::ifstream file(folder_ + "/key.pub");
  std::string line;
  if (!std::getline(file, line)) return absl::InternalError("no " + folder_ + "/key.pub");
  return line;
}

absl::Status WarmSsh::Open(const std::string& user, const std::string& address,
                           absl::Duration patience) {
  target_ = absl::StrCat(user, "@", address);
  const absl::Time deadline = absl::Now() + patience;
  for (;;) {
    const e2e::Result opened = e2e::Run(Argv({"-f", "-N", "-M", target_}));
    if (opened.exit_status == 0) return Exec({"true"});
    if (absl::Now() > deadline) return absl::UnavailableError("ssh: " + opened.err);
    absl::SleepFor(absl::Milliseconds(500));
  }
}

absl::Status WarmSsh::Exec(const std::vector<std::string>& command) const {
  std::vector<std::string> more = {target_};
  more.insert(more.end(), command.begin(), command.end());
  const e2e::Result result = e2e::Run(Argv(more));
  if (result.exit_status == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("ssh ", absl::StrJoin(command, " "), ": exit status ",
                                          result.exit_status, " ", result.err));
}

absl::Status WarmSsh::Ansible(const std::string& shell_line) const {
  return RunAnsible(
      {"ansible", "all", "--become", "-m", "ansible.builtin.shell", "-a", shell_line});
}

absl::Status WarmSsh::Playbook(const std::string& script) const {
  const std::string path = folder_ + "/playbook.yml";
  std::ofstream(path) << "- hosts: all\n  become: true\n  tasks:\n"
                      << "    - ansible.builtin.copy: {dest: /var/lib/boot-script, mode: '0700', "
                         "content: \""
                      << script << "\\n\"}\n      register: script\n"
                      << "    - ansible.builtin.command: sh /var/lib/boot-script\n"
                      << "      when: script.changed\n";
  return RunAnsible({"ansible-playbook", path});
}

absl::Status WarmSsh::RunAnsible(std::vector<std::string> argv) const {
  std::string common;
  const std::vector<std::string> words = Argv({});
  for (size_t i = 1; i < words.size(); ++i) absl::StrAppend(&common, words[i], " ");
  const size_t at = target_.find('@');
  argv.insert(argv.end(), {"-i", target_.substr(at + 1) + ",", "-u", target_.substr(0, at)});
  const e2e::Result result = e2e::Run(argv, {{"ANSIBLE_SSH_ARGS", common},
                                             {"ANSIBLE_PIPELINING", "True"},
                                             {"ANSIBLE_HOST_KEY_CHECKING", "False"},
                                             {"ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3"},
                                             {"ANSIBLE_HOME", folder_ + "/ansible"}});
  if (result.exit_status == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat(argv[0], ": exit status ", result.exit_status, " ", result.out, result.err));
}

}  // namespace rum::bench
