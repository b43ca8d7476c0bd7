#include "controller/decide/record_update.h"

#include <google/protobuf/reflection.h>
#include <google/protobuf/util/field_mask_util.h>
#include <google/protobuf/util/message_differencer.h>

#include <string>
#include <vector>

#include "controller/decide/restart_policy.h"
#include "state/schema.h"

namespace rum {
namespace {

using google::protobuf::util::FieldMaskUtil;
using google::protobuf::util::MessageDifferencer;

// The fields of `mask` are as in `from`, whole lists as well.
void Replace(const google::protobuf::Message& from, const google::protobuf::FieldMask& mask,
             google::protobuf::Message* to) {
  FieldMaskUtil::MergeOptions options;
  options.set_replace_message_fields(true);
  options.set_replace_repeated_fields(true);
  FieldMaskUtil::MergeMessageTo(from, mask, options, to);
}

// Nothing on the machine depends on these.
void NoteFree(const Config& desired, Config* applied) {
  google::protobuf::FieldMask free;
  for (const std::string& field : FieldsOfEffects({NONE})) free.add_paths(field);
  Replace(desired, free, applied);
}

void Release(const std::string& list, const std::string& value, MachineRecord* record) {
  const auto* const field = MachineRecord::descriptor()->FindFieldByName(list);
  const auto owned =
      record->GetReflection()->GetMutableRepeatedFieldRef<std::string>(record, field);
  std::vector<std::string> kept;
  for (int i = 0; i < owned.size(); ++i) {
    if (owned.Get(i) != value) kept.push_back(owned.Get(i));
  }
  owned.Clear();
  for (const std::string& one : kept) owned.Add(one);
}

}  // namespace

bool NoteDesired(const Config& desired, MachineRecord* record) {
  if (record->has_desired() && MessageDifferencer::Equals(record->desired(), desired)) return false;
  *record->mutable_desired() = desired;
  record->set_generation(record->generation() + 1);
  record->clear_fights();
  ForgetRestarts(record);
  return true;
}

bool NoteIntent(const Config& desired, const Observed& observed, const Action& action,
                MachineRecord* record) {
  const Aspect* const aspect = AspectOf(action.field());
  if (aspect == nullptr || aspect->intend == nullptr) return false;
  const MachineRecord before = *record;
  aspect->intend(desired, observed, action, record);
  return !MessageDifferencer::Equals(before, *record);
}

void NoteDone(const Action& action, MachineRecord* record) {
  const Aspect* const aspect = AspectOf(action.field());
  if (aspect != nullptr && aspect->done != nullptr) aspect->done(action, record);
}

bool NoteObserved(const Config& desired, const Judgement& judgement, bool converged, int64_t now_ms,
                  MachineRecord* record) {
  const MachineRecord before = *record;
  NoteFree(desired, record->mutable_applied());
  for (const Verdict& verdict : judgement.verdicts) {
    Replace(verdict.seen, verdict.known, record);
    for (const auto& [list, value] : verdict.released) Release(list, value, record);
  }
  if (converged) record->set_applied_generation(record->generation());
  if (MessageDifferencer::Equals(before, *record)) return false;
  if (converged) record->set_applied_ms(now_ms);
  return true;
}

}  // namespace rum
