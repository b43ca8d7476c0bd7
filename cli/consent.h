#ifndef RUM_CLI_CONSENT_H_
#define RUM_CLI_CONSENT_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/apply_stream.h"
#include "cli/commands.h"
#include "cli/interrupts.h"

namespace rum {

// Asks the user for his consent to what a file reaches on the host (state/consent.h): in one
// question at a terminal, by --trust elsewhere.

using TrustWords = std::vector<std::string>;  // fields or items; kAllThatIsAsked
constexpr char kAllThatIsAsked[] = "*";

void AddTrustOption(CLI::App* command, TrustWords* words);

// What the machine's file asks, after `request`. Says what is wrong.
grpc::Status AskTrust(const MachineClient& client, control::TrustRequest request,
                      control::TrustReply* reply);
// Adds what the words or the person at the terminal consent to of what is asked. False: the words
// are wrong, and that was said. Nobody is asked where there are words. `interrupts` may be null.
bool Consented(const control::TrustReply& asked, const TrustWords& words, Globals* globals,
               Interrupts* interrupts,
               google::protobuf::RepeatedPtrField<ConsentedValue>* consented);
// The same for up and apply.
bool AskForTrust(const TrustWords& words, const MachineClient& client, Globals* globals,
                 Interrupts* interrupts, control::ApplyRequest* request);

}  // namespace rum

#endif  // RUM_CLI_CONSENT_H_
