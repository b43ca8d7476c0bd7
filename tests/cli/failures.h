#ifndef RUM_TESTS_CLI_FAILURES_H_
#define RUM_TESTS_CLI_FAILURES_H_

#include <ostream>
#include <string>
#include <vector>

namespace rum {

// A way in which a first try ends, and what has to be said then.
struct Failure {
  std::string name;   // as docs/troubleshooting.md has it
  std::string fault;  // makes it: a shell, in a folder with a good rum.toml
  std::string typed;  // then, by the shell as well
  std::string what;   // happened, as docs/troubleshooting.md has it
  std::string where;
  std::string next;  // what to do
};

inline void PrintTo(const Failure& failure, std::ostream* out) { *out << failure.name; }

// What is wrong with words and files: no controller is asked.
std::vector<Failure> FailuresOfFiles();
// What an image can be; $AT is a server of $SERVED that fails in some ways.
std::vector<Failure> FailuresOfImages();
// What libvirt in memory can say; one controller has them all.
std::vector<Failure> FailuresOfMachines();
// Of the host and its folders: each has namespaces of its own.
std::vector<Failure> FailuresOfHosts();
// Of a libvirt that runs, one after the other.
std::vector<Failure> FailuresOfLibvirt();

}  // namespace rum

#endif  // RUM_TESTS_CLI_FAILURES_H_
