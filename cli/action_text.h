#ifndef RUM_CLI_ACTION_TEXT_H_
#define RUM_CLI_ACTION_TEXT_H_

#include <string>

#include "controller/aspects/plan.pb.h"

namespace rum {

// What an action of a plan would do, as a verb and its objects: "set hostname a → b". Names in it
// are as they are, not yet safe for a terminal.
std::string WouldDo(const Action& action);
// The filesystem that it is about: "fs.ext4[/data]".
std::string ItemOf(const Action::AdoptFilesystems& adopt);

}  // namespace rum

#endif  // RUM_CLI_ACTION_TEXT_H_
