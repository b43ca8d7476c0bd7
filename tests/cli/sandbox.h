#ifndef RUM_TESTS_CLI_SANDBOX_H_
#define RUM_TESTS_CLI_SANDBOX_H_

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace rum {

using Environment = std::map<std::string, std::string>;

struct Result {
  int exit_status = -1;  // 128 + N for signal N
  std::string out;
  std::string err;
};

// A terminal's, in characters; 0: it does not say.
struct Window {
  unsigned short columns = 0;
  unsigned short rows = 0;
};

// A program that goes on; ended with its Sandbox at the latest.
struct Running {
  pid_t pid = -1;
  int out = -1;  // its standard output and standard error
  int err = -1;
};

// The real rum in a home, a state and a runtime folder of its own. Controllers become children of
// the test when they detach, so that all of them end with this, also when a test fails.
class Sandbox {
 public:
  Sandbox();
  ~Sandbox();
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  Environment env;                    // of all that is run; tests may change it
  std::string program;                // rum
  std::chrono::seconds patience{60};  // with what is run, until it ends
  // Runs rum in project() to its end.
  Result Rum(const std::vector<std::string>& words);
  // All output in `out`, with what is typed; `hear` gets each piece of it as it comes.
  Result RumOnTerminal(const std::vector<std::string>& words, const std::string& typed = "",
                       Window window = {},
                       const std::function<void(const std::string&)>& hear = nullptr);
  // At that terminal, while something is heard from it: keys, and another size of its window.
  void Type(const std::string& keys) const;
  void Resize(Window window) const;
  // What a shell prints in namespaces of its own, where it is root, and where all is gone with it.
  Result ShellApart(const std::string& script);
  Running Start(const std::vector<std::string>& words);
  Result Finish(const Running& running);

  std::string Write(const std::string& name, const std::string& text) const;  // the path
  // Makes `program` a copy, with one of rum-controller beside it; again: in the place of those.
  void Install();
  std::string project() const { return folder_ + "/project"; }
  std::string state() const { return folder_ + "/state/rum"; }
  std::string runtime() const { return runtime_ + "/rum"; }

  // Of the controller that answers; 0: none does.
  pid_t ControllerPid();
  std::vector<pid_t> Controllers() const;  // the processes, whether they answer or not

 private:
  std::string folder_;
  std::string runtime_;
  int terminal_ = -1;  // of RumOnTerminal()
};

// False: it still lives after `patience`.
bool IsGone(pid_t pid, std::chrono::milliseconds patience);

// A valid file for a libvirt in memory that each controller has for itself.
std::string GoodToml();

}  // namespace rum

#endif  // RUM_TESTS_CLI_SANDBOX_H_
