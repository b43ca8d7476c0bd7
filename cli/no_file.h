#ifndef RUM_CLI_NO_FILE_H_
#define RUM_CLI_NO_FILE_H_

#include <cstddef>
#include <string>
#include <vector>

namespace rum {

// What a person may have meant who said a command where there is no file.
struct NoFile {
  std::string typed;              // as -c has it, or rum.toml
  std::vector<std::string> here;  // files of other machines in its folder, as -c takes them
  std::string above;              // the nearest rum.toml in a folder above; empty: none
  size_t machines = 0;            // that the user has
};

// Looks around `typed`, which is not there.
NoFile LookAroundNoFile(const std::string& typed);

// What is missing and, a line each, what to say in its place.
std::string NoFileText(const NoFile& missing);

// Whether there is nothing at `config_path` and no record of a machine that was made from it. False
// where that cannot be known.
bool NothingWasThere(const std::string& config_path);

}  // namespace rum

#endif  // RUM_CLI_NO_FILE_H_
