#ifndef RUM_CLI_FIRST_FILE_H_
#define RUM_CLI_FIRST_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/folder_ports.h"

namespace rum {

// "8080:80", "80", "127.0.0.1:8080:80", "8000-8010:3000"; without a port of the host (":80") any.
struct FirstPort {
  std::string bind;  // empty: the default
  std::string host;  // empty: any
  std::string guest;
};
absl::StatusOr<FirstPort> ParseFirstPort(const std::string& word);

// "." or "SOURCE:TARGET".
struct FirstMount {
  std::string source;
  std::string target;
};
absl::StatusOr<FirstMount> ParseFirstMount(const std::string& word);

// MiB of "2G", "2048M", or "2048".
absl::StatusOr<uint64_t> ParseFirstMemory(const std::string& word);

// What `rum init` writes: what was asked for, and the rest as examples.
struct FirstFile {
  std::string image = "debian-12";
  uint32_t cpus = 2;
  uint64_t memory_mb = 2048;
  std::string disk;  // empty: the default
  std::vector<FirstPort> ports;
  std::vector<FirstMount> mounts;
  std::vector<ProposedPort> proposed;  // as examples
  std::string hostname = "dev";        // the one that the machine has by itself
  std::string schema;                  // where rum's schema is installed; empty: nowhere
};

// Proposes nothing that is forwarded already.
void LeaveOutTaken(FirstFile* first);

// The file's text. Prose begins with "# ", an example with "#" alone: without that it is part of a
// file that is valid, if `first` is.
std::string FirstFileText(const FirstFile& first);

}  // namespace rum

#endif  // RUM_CLI_FIRST_FILE_H_
