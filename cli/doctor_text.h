#ifndef RUM_CLI_DOCTOR_TEXT_H_
#define RUM_CLI_DOCTOR_TEXT_H_

#include <string>

#include "cli/doctor.pb.h"
#include "cli/render.h"
#include "controller/aspects/plan.pb.h"

namespace rum {

// Findings a line each, and below those that ask for something what goes wrong and what to type;
// last, what it all comes to. `brief`: without those that are fine. Pure.
std::string RenderReport(const doctor::Report& report, bool brief, const Style& style);

// What is to be found at a machine, from its status. `file_gone`: it goes on without one, which is
// nothing that is broken.
void AddMachineFindings(const MachineStatus& status, bool file_gone, doctor::Report* report);

}  // namespace rum

#endif  // RUM_CLI_DOCTOR_TEXT_H_
