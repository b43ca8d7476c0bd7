#include "agent-api/client/greeting.h"

#include <grpcpp/grpcpp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "agent-api/build_id.h"
#include "agent-api/client/checked_reply.h"
#include "agent-api/client/rpc_status.h"
#include "agent-api/protocol.h"
#include "agent-api/quiet_grpc.h"

namespace rum {
namespace {

constexpr std::chrono::seconds kAnswer{10};
constexpr std::chrono::seconds kUpgrade{120};  // 8 MB to a guest on an emulated CPU
constexpr size_t kChunk = 64 * 1024;

std::string ReadProgram(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string Sha256(const std::string& bytes) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return absl::BytesToHexString(digest);
}

grpc::Status Send(agent::Agent::Stub* stub, const AgentProgram& program) {
  const std::string bytes = program.read();
  grpc::ClientContext context;
  const CallDeadline deadline(&context, kUpgrade);
  agent::UpgradeReply reply;
  const auto writer = stub->Upgrade(&context, &reply);
  agent::UpgradeChunk chunk;
  chunk.set_build_id(program.build_id);
  chunk.set_sha256(Sha256(bytes));
  for (size_t at = 0; at < bytes.size(); at += kChunk) {
    chunk.set_data(bytes.substr(at, kChunk));
    if (!writer->Write(chunk)) break;
    chunk.Clear();
  }
  writer->WritesDone();
  return writer->Finish();
}

std::string Name(const AgentBuild& build) {
  return absl::StrCat(build.version, " (protocol ", build.protocol, ")");
}

}  // namespace

AgentProgram AgentProgramAt(const std::string& path) {
  if (path.empty()) return {};
  return {BuildIdOf(path), [path] { return ReadProgram(path); }};
}

Greeting Greet(agent::Agent::Stub* stub, const AgentProgram& program,
               const std::string& stream_secret,
               const std::function<bool(const std::string&)>& in_vain) {
  Greeting greeting;
  agent::Observation seen;
  {
    grpc::ClientContext context;
    const CallDeadline deadline(&context, kAnswer);
    agent::ObserveRequest request;
    request.set_stream_secret(stream_secret);
    const grpc::Status status = stub->Observe(&context, request, &seen);
    if (!status.ok()) {
      const absl::Status said = ToAbsl(status);
      if (SaysWhatNoAgentSays(said)) greeting.outcome = Greeting::kRefused;
      greeting.text = std::string(said.message());
      return greeting;
    }
    if (const absl::Status said = CheckGreeting(seen); !said.ok()) {
      greeting.outcome = Greeting::kRefused;
      greeting.text = std::string(said.message());
      return greeting;
    }
  }
  const AgentBuild there = {seen.agent_version(), seen.protocol(), seen.oldest_protocol(),
                            seen.build_id()};
  const AgentBuild own = {kAgentVersion, kProtocol, kOldestHost, program.build_id};
  greeting.protocol = there.protocol;
  greeting.build_id = there.build_id;
  greeting.outcome = Greeting::kServe;
  switch (FitOf(there, own)) {
    case AgentFit::kSame:
      return greeting;
    case AgentFit::kRefuse:
      greeting.outcome = Greeting::kRefused;
      greeting.text = absl::StrCat("the agent in the guest, ", Name(there), ", and this rum, ",
                                   Name(own), ", do not understand each other: update rum");
      return greeting;
    case AgentFit::kUse:
      if (own.build_id.empty()) return greeting;
      greeting.text =
          absl::StrCat("the agent in the guest is ", Name(there), ", this rum's is ", Name(own),
                       there.protocol < 2 ? ": the next boot brings it" : "");
      return greeting;
    case AgentFit::kReplace:
      break;
  }
  if (in_vain(there.build_id)) {
    greeting.text = absl::StrCat("the agent in the guest, ", Name(there),
                                 ", was replaced but came back: the next boot tries again");
    return greeting;
  }
  const grpc::Status sent = Send(stub, program);
  // The end of the session may be faster than the reply: who is there then tells.
  if (sent.ok() || sent.error_code() == grpc::StatusCode::UNAVAILABLE) {
    greeting.outcome = Greeting::kReplaced;
  } else {
    greeting.text = absl::StrCat("the agent in the guest, ", Name(there),
                                 ", could not be replaced: ", std::string(ToAbsl(sent).message()));
  }
  return greeting;
}

}  // namespace rum
