#ifndef RUM_CLI_LIST_TEXT_H_
#define RUM_CLI_LIST_TEXT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/render.h"
#include "state/state_store.h"

namespace rum {

// A table: a row for each machine, and below it why nothing is known of those of which nothing is.
std::string RenderMachines(const control::ListMachinesReply& machines, const Style& style);

// The machine that `-m said` means: its id, its name, its domain's name in libvirt, or the
// beginning of its id (4 digits at least). The error names those that may be meant.
absl::StatusOr<control::ListedMachine> PickMachine(const control::ListMachinesReply& machines,
                                                   const std::string& said);

// The list as records alone have it, for where no controller can be asked; `why`: the reason.
control::ListMachinesReply ListOfRecords(const std::vector<StoredRecord>& records,
                                         const std::string& why);

}  // namespace rum

#endif  // RUM_CLI_LIST_TEXT_H_
