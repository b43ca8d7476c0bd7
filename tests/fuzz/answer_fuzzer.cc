// Any bytes as a guest's answers: what comes through the door is within the budget.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "agent-api/budget.h"
#include "agent-api/client/checked_reply.h"

namespace {

void Observation(const std::string& bytes) {
  rum::agent::Observation seen;
  if (!seen.ParseFromString(bytes) || !rum::CheckReply(rum::agent::ObserveRequest(), seen).ok()) {
    return;
  }
  bool within = seen.cards_size() <= rum::kMostCards && seen.runs_size() <= rum::kMostRunsTold &&
                seen.ByteSizeLong() <= rum::kMostAnswerBytes;
  for (const auto& run : seen.runs()) {
    within = within && rum::IsRunId(run.run_id()) && rum::IsRunKind(run.kind());
  }
  if (!within) std::abort();
}

void Event(const std::string& bytes) {
  rum::agent::RunScriptEvent event;
  if (!event.ParseFromString(bytes) || !rum::RunEvents("a").Check(event).ok()) return;
  if (event.ByteSizeLong() > rum::kMostMessageBytes) std::abort();
}

void Others(const std::string& bytes) {
  rum::agent::SetStorageReply storage;
  if (storage.ParseFromString(bytes)) {
    rum::CheckReply(rum::agent::SetStorageRequest(), storage).IgnoreError();
  }
  rum::agent::ReadHostKeysReply keys;
  if (keys.ParseFromString(bytes)) {
    rum::CheckReply(rum::agent::ReadHostKeysRequest(), keys).IgnoreError();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  Observation(bytes);
  Event(bytes);
  Others(bytes);
  return 0;
}
