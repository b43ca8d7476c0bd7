#ifndef RUM_CLI_ONE_OF_H_
#define RUM_CLI_ONE_OF_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace rum {

// Lets an option have one of these words, and names the nearest one to somebody who typed another.
CLI::Validator OneOf(const std::vector<std::string>& words);

}  // namespace rum

#endif  // RUM_CLI_ONE_OF_H_
