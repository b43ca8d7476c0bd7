#ifndef RUM_CONTROLLER_ASPECTS_ASPECT_H_
#define RUM_CONTROLLER_ASPECTS_ASPECT_H_

#include <google/protobuf/field_mask.pb.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "controller/aspects/observed.h"
#include "controller/aspects/plan.pb.h"
#include "state/diff.h"
#include "state/record.pb.h"

namespace rum {

struct Worlds;

struct PlanOptions {
  bool force_system_script = false;  // --force
  bool rerun_system = false;         // whatever the ledger says: rum provision
  bool rerun_boot = false;
  bool start = false;         // up: define and start what is not
  bool reset = false;         // up --reset
  bool reset_drives = false;  // up --reset --drives
  // Run a script again that failed, and go on with a fight (see drift.h); the background loop does
  // neither.
  bool retry_failed = true;
  bool live = true;  // false: what is live only within a room waits for a restart
};

// What a judgement is about. All four outlive it.
struct Scene {
  Scene(const Config& desired, const MachineRecord& record, const Observed& observed,
        const PlanOptions& options);

  const Config& desired;
  const MachineRecord& record;  // its `applied` is what rum may take away again
  const Observed& observed;
  const PlanOptions& options;
  const std::vector<FieldChange> file_changes;  // from `applied` to `desired`; none without it
  // Go from the definition for the next start, and from the one that counts now, which is the
  // running machine's where it runs; none without it. No ports and scripts.
  const std::vector<FieldChange> next_changes;
  const std::vector<FieldChange> now_changes;
};

// How a change of `now_changes` goes on this machine, of a field that is live within its room.
struct Way {
  enum What {
    kLive,     // an action of the field's aspect brings it now, in both definitions
    kApart,    // nothing is to be brought: the aspect says how it stands. Only the definition for
               // the next start is written, where it says something else
    kRestart,  // at the next start
  };
  What what = kRestart;
  std::string reason;  // of a restart: names the room, and the field that gives more
};

// One item of the report as data: its sentence is made with the report (status.h).
struct Finding {
  Item item;            // all but its text, and who can know it
  std::string what;     // "typed in the guest, dev wanted"
  std::string outlook;  // "will be set"; empty: nothing becomes of it, or `what` says it
};

// All that is decided of one subject in one look. Plan, report and record are unions of verdicts.
struct Verdict {
  std::vector<Finding> findings;
  std::vector<Action> actions;    // that would make it hold
  std::vector<Action> held_back;  // the same, but only somebody who asks for them gets them
  std::vector<Change> waiting;    // what is not applied now, and why
  std::vector<Change> at_start;   // of a machine that is off: what its next start brings
  // What is seen to hold now: fields of the record, named in `known`, that are from now on as here.
  MachineRecord seen;
  google::protobuf::FieldMask known;
  // Of lists in the record of what is rum's: values that are nobody's any more.
  std::vector<std::pair<std::string, std::string>> released;

  Finding& AddHolding(const std::string& field, const std::string& what);
  Finding& Add(const std::string& field, Item::State state, Item::Author moved_by,
               const std::string& observed, const std::string& wanted, const std::string& what,
               const std::string& outlook = "");
  // Adds what the action of `remedy` puts right: pending when the file moved it, drifted otherwise.
  Finding& AddCurable(const std::string& field, const std::string& remedy, Item::Author moved_by,
                      const std::string& observed, const std::string& wanted,
                      const std::string& what, const std::string& outlook);
  Action* AddAction(const std::string& field);
  void Know(const std::string& path) { known.add_paths(path); }
};

// What was done, for a person.
struct Deed {
  std::string message;       // "Set hostname dev → devbox"
  std::string output_tail;   // of a failed script
  bool interrupted = false;  // a script, by its guest that went down
};

// One subject of a machine, and all that the controller knows of it. What a change of a field costs
// is the field's option in config.proto, or what the aspect finds it to be on this machine.
struct Aspect {
  std::string name;                 // of its actions, or the table that they are in
  std::vector<std::string> fields;  // of the file, that it makes hold
  Item::Author known_by;            // who can tell whether it holds
  bool acts_first = false;          // all other actions need a machine to act on
  // Pure; judges once for each look. Without a guest, say, there is no verdict on it.
  Verdict (*judge)(const Scene& scene);
  // Makes the state true that one of its actions names; twice is once. Null: it has none.
  absl::Status (*act)(const Action& action, const Worlds& worlds, Deed* deed) = nullptr;
  // How a change goes here; see WayOf(). nullopt: it is none of its fields. Null: the option of its
  // fields says it. Where `kLive` is returned, `judge` has the action; it asks WayOf(), too.
  std::optional<Way> (*way)(const Scene& scene, const FieldChange& change) = nullptr;
  // What has to be asked so that it can be judged. Null: nothing.
  void (*ask)(const Config& desired, const MachineRecord& record, const DomainState& domain,
              agent::ObserveRequest* request) = nullptr;
  // Before an action: what must not be forgotten if the controller dies in the middle of it.
  void (*intend)(const Config& desired, const Observed& observed, const Action& action,
                 MachineRecord* record) = nullptr;
  // After it: what is known to be so now, and will not be told by anybody.
  void (*done)(const Action& action, MachineRecord* record) = nullptr;
};

// Says who moved `field` away from `wanted`: whoever did when it was first seen; else the file,
// when it says something else than what was applied; else `other`, who owns the other end.
Item::Author MovedBy(const Scene& scene, const std::string& field, const std::string& wanted,
                     Item::Author other);

// What differs between a definition and the file. A definition carries neither ports nor scripts:
// they are no difference of it.
std::vector<FieldChange> DefinitionChanges(const Config& definition, const Config& desired);

// The change of just that field; null: there is none.
const FieldChange* FindChange(const std::vector<FieldChange>& changes, const std::string& field);

// "will be restored", unless the loop only reports.
std::string Outlook(const Scene& scene, const std::string& will);

// Returns whether the guest could not tell the end of a list; what the file is about is told before
// all else, so that the items themselves are right.
bool IsCut(const Scene& scene, const std::string& list);
void AddCut(const std::string& field, const std::string& what, Verdict* verdict);

// The user who is meant: the one that the domain's disk was made with.
std::string UserInGuest(const Config& desired, const DomainState& domain);

// "Updated port forwards (added A, removed B)"; empty when nothing is in it.
std::string ListedMessage(const std::string& what, const std::vector<std::string>& added,
                          const std::vector<std::string>& removed);

// `status` with who failed in front.
absl::Status WithContext(const std::string& context, const absl::Status& status);

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_ASPECT_H_
