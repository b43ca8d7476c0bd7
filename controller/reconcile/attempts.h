#ifndef RUM_CONTROLLER_RECONCILE_ATTEMPTS_H_
#define RUM_CONTROLLER_RECONCILE_ATTEMPTS_H_

#include <set>
#include <string>

#include "absl/status/status.h"
#include "controller/aspects/plan.pb.h"

namespace rum {

// What one reconcile has tried. An action is tried once in it, whatever it says the second time,
// and not at all where what it stands on failed.
class Attempts {
 public:
  bool May(const Action& action) const;
  bool WereMade(const Action& action) const;
  void Begin(const Action& action);
  // It may be tried again: somebody else decided meanwhile.
  void TakeBack(const Action& action);
  // A script of that kind came to an end, to success or not.
  void NoteRun(const std::string& kind) { ran_.insert(kind); }
  bool Ran(const std::string& kind) const { return ran_.count(kind) > 0; }
  void NoteFailure(const Action& action, const absl::Status& status);
  // The guest is in another boot: there what was tried may be to be tried again. What libvirt was
  // asked for is as it was.
  void ForgetGuest();

 private:
  std::set<std::string> tried_;
  std::set<std::string> ran_;  // kinds of scripts
  bool define_failed_ = false;
  bool script_failed_ = false;
  bool storage_failed_ = false;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_RECONCILE_ATTEMPTS_H_
