#ifndef RUM_CLI_CUT_COMMAND_H_
#define RUM_CLI_CUT_COMMAND_H_

#include <string>
#include <vector>

namespace rum {

// The words of `rum ... exec ...`, `rum ... shell ...` and `rum ... ssh ...` that are rum's own.
// The rest goes to `command`, untouched: options there are the command's. Other command lines come
// back whole.
std::vector<std::string> CutCommand(const std::vector<std::string>& words,
                                    std::vector<std::string>* command);

}  // namespace rum

#endif  // RUM_CLI_CUT_COMMAND_H_
