#ifndef RUM_CLI_APPLY_STREAM_H_
#define RUM_CLI_APPLY_STREAM_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/commands.h"
#include "cli/interrupts.h"
#include "controller/service/control.grpc.pb.h"
#include "state/identity.h"

namespace rum {

// Shows what happens as it happens: results on standard output, progress on standard error, there
// also the last lines of a script while it runs, on a terminal, and with -v all of its output.
// `whole_output` gives all that a run wrote, for one that failed; empty: there is no more than the
// result has.
using WholeOutput = std::function<std::string(const std::string& run_id)>;
absl::StatusOr<control::ApplyReport> Follow(grpc::ClientReader<control::ApplyEvent>* reader,
                                            const Globals& globals,
                                            const WholeOutput& whole_output = nullptr);

// What is common to all commands about one machine: its identity and a controller. Says what is
// wrong and returns false; so where there is neither a file nor a machine that was made from it.
struct MachineClient {
  // The connection ends with the process: gRPC 1.51 would sleep for some milliseconds until its
  // threads have seen the last one go.
  ~MachineClient() { (void)stub.release(); }
  MachineIdentity identity;  // name and id as the machine was born with them
  std::unique_ptr<control::Control::Stub> stub;
};
bool Connect(Globals* globals, MachineClient* client);
// LIBVIRT_DEFAULT_URI of this shell, which the controller does not have; empty: it is not set.
std::string DefaultUri();
// The same for what is done to machines that are there: a file may be gone, but then a machine must
// have been made from it.
bool ConnectToKnown(Globals* globals, MachineClient* client);
// Asks again when the controller ends just now: a question may be asked twice.
grpc::Status AskStatus(MachineClient* client, MachineStatus* status);

// Does up or apply and shows it, down to the outcome. False: failed, and said so; or interrupted:
// then the controller goes on until it is told to stop the machine, and so it does after `timeout`.
// `interrupts` may be null.
bool RunApply(const control::ApplyRequest& request, const MachineClient& client, Globals* globals,
              control::ApplyReport* report, Interrupts* interrupts = nullptr,
              absl::Duration timeout = absl::InfiniteDuration());
// The same for down and destroy.
struct DownFlags {
  bool destroy = false;
  bool force = false;  // also of a machine that is another user's; destroy: also with snapshots
};
bool RunDown(const MachineClient& client, DownFlags flags, Globals* globals);

}  // namespace rum

#endif  // RUM_CLI_APPLY_STREAM_H_
