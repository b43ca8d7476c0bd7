#include "controller/reconcile/attempts.h"

#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace rum {
namespace {

constexpr char kOfDomain[] = "domain/";

// Of what is mounted, some can only be when drives have come or others are unmounted. Several
// folders may be at one place, one after the other, and a card or a drive may come and go; what is
// on a drive that grew before it was mounted grows afterwards.
std::string KeyOf(const Action& action) {
  const Action::SetStorage& storage = action.set_storage();
  const Action::ChangeFolder& folder = action.change_folder();
  const Action::ChangeDisk& disk = action.change_disk();
  return absl::StrCat(
      absl::StrCat(action.field(), "/", action.kind_case(), "/",
                   absl::StrJoin(storage.made(), "\n"), "/",
                   absl::StrJoin(storage.removed(), "\n")),
      absl::StrCat("/", folder.what(), "/", folder.tag(), "/", action.change_card().what(), "/",
                   disk.what(), "/", disk.before() == disk.size()));
}

}  // namespace

bool Attempts::May(const Action& action) const {
  if (WereMade(action)) return false;
  if (action.has_run_script() && (script_failed_ || storage_failed_)) return false;
  return !(action.has_start_domain() && define_failed_);
}

bool Attempts::WereMade(const Action& action) const { return tried_.count(KeyOf(action)) > 0; }

void Attempts::Begin(const Action& action) { tried_.insert(KeyOf(action)); }

void Attempts::TakeBack(const Action& action) { tried_.erase(KeyOf(action)); }

void Attempts::NoteFailure(const Action& action, const absl::Status& status) {
  // A script would write below an empty target; but it may be what installs a missing mkfs.
  if (action.has_set_storage()) storage_failed_ = !absl::IsUnimplemented(status);
  if (action.has_define_domain()) define_failed_ = true;
  if (action.has_run_script()) script_failed_ = true;
}

void Attempts::ForgetGuest() {
  script_failed_ = false;
  storage_failed_ = false;
  for (auto key = tried_.begin(); key != tried_.end();) {
    key = absl::StartsWith(*key, kOfDomain) ? std::next(key) : tried_.erase(key);
  }
}

}  // namespace rum
