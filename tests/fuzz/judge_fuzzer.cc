// Any bytes as a machine's record and as what its guest answers: all that is judged by them ends,
// and what comes of it is a record that can be kept. Nothing that a guest says keeps its record
// from the disk.
#include <google/protobuf/util/json_util.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "agent-api/client/checked_reply.h"
#include "controller/decide/history.h"
#include "controller/decide/plan.h"
#include "controller/decide/record_update.h"
#include "controller/decide/restart_policy.h"
#include "controller/decide/status.h"

namespace {

using google::protobuf::util::JsonStringToMessage;
using google::protobuf::util::MessageToJsonString;

constexpr int64_t kNow = 1'700'000'000'000;

// As the store keeps it. False: it cannot be kept.
bool Keep(rum::MachineRecord* record) {
  std::string json;
  if (!MessageToJsonString(*record, &json).ok()) return false;
  rum::MachineRecord read;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  if (!JsonStringToMessage(json, &read, options).ok()) return false;
  *record = read;
  return true;
}

rum::Observed Seen(const rum::MachineRecord& record, const std::string& bytes, int cause) {
  rum::Observed seen;
  seen.domain.defined = true;
  seen.domain.running = cause % 3 != 0;
  seen.domain.cause = static_cast<rum::DomainCause>(cause % 8);
  seen.domain.persistent = record.desired();
  seen.domain.live = record.last_live();
  rum::agent::Observation guest;
  if (guest.ParseFromString(bytes) && rum::CheckReply(rum::agent::ObserveRequest(), guest).ok()) {
    seen.guest = guest;
    seen.domain.running = true;
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 3, size - 3);
  const size_t cut = std::min<size_t>(data[1] * 16, bytes.size());
  rum::MachineRecord record;
  const bool binary = data[0] % 2 == 0;
  const std::string said = bytes.substr(0, cut);
  if (binary ? !record.ParseFromString(said) : !JsonStringToMessage(said, &record).ok()) return 0;
  if (!Keep(&record)) return 0;
  const rum::Config desired = record.desired();
  const rum::Observed seen = Seen(record, bytes.substr(cut), data[2]);
  rum::PlanOptions options;
  options.start = data[2] % 2 == 1;
  options.retry_failed = data[2] % 5 != 0;
  const rum::Judgement judgement = rum::Judge(desired, record, seen, options);
  const rum::Plan plan = rum::MakePlan(judgement, record, options);
  const rum::MachineStatus status = rum::MakeStatus(desired, record, seen, judgement, kNow);
  (void)rum::JudgeRestart(desired, record, seen.domain, data[2] % 7 == 0, kNow);
  for (const rum::Action& action : plan.actions()) {
    rum::NoteIntent(desired, seen, action, &record);
    rum::ActionResult result;
    *result.mutable_action() = action;
    result.set_ok(data[2] % 11 != 0);
    rum::NoteAction(result, status, kNow, &record);
    if (result.ok()) rum::NoteDone(action, &record);
  }
  rum::NoteReport(status, true, kNow, &record);
  rum::NoteObserved(desired, judgement, rum::Settled(judgement), kNow, &record);
  if (Keep(&record)) return 0;
  std::fprintf(stderr, "cannot be kept: %s\n", record.ShortDebugString().c_str());
  std::abort();
}
