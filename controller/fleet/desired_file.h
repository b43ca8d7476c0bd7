#ifndef RUM_CONTROLLER_FLEET_DESIRED_FILE_H_
#define RUM_CONTROLLER_FLEET_DESIRED_FILE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "controller/aspects/plan.pb.h"
#include "controller/fleet/machine_key.h"
#include "controller/fleet/record_box.h"
#include "controller/reconcile/links.h"
#include "controller/reconcile/reconciler.h"
#include "state/consent.h"
#include "state/record.pb.h"
#include "state/surroundings.h"

namespace rum {

// What a machine's file asks for, as far as the user has consented to it.
struct Wanted {
  Config config;          // what may be acted on
  std::string error;      // the file's problems: `config` is of the last good one
  std::string text_hash;  // of the file; empty: it could not be read
  std::vector<Ask> asks;  // what was withheld
  std::string note;       // what is to be known with these
  std::string blocked;    // why nothing may be done, and no libvirt be asked; else empty
  bool may_start = true;  // its image, too, was consented to
  absl::Status libvirt;   // why it could not say what the networks are that the file names

  // Ok, or what a command would have to do and the user has not consented to.
  absl::Status MayApply(const ApplyOptions& options) const;
  // The status of a machine that nothing may be done with, and nobody be asked about.
  MachineStatus BlockedStatus(const MachineRecord& record, int64_t now_ms) const;
};

// The file of a machine, where it is now. Reads it at each call. Thread-safe.
class DesiredFile {
 public:
  // What is pointed to outlives it.
  DesiredFile(const MachineLinks* links, RecordBox* record, MachineKeys keys)
      : links_(links), record_(record), keys_(std::move(keys)) {}

  // The file's configuration with the machine's own key among the keys, and without what the user
  // has not consented to; `also`: what he does just now. Libvirt is asked where the file names
  // networks; `default_uri`: the LIBVIRT_DEFAULT_URI of whoever asks.
  Wanted Read(const std::vector<ConsentedValue>& also = {},
              const std::string& default_uri = "") const;
  // Its table [ssh]. Asks nobody, so that a libvirt that hangs keeps no ssh.
  Ssh ReadSsh() const;
  // Notes of the file where it is and what it says, and saves that of a machine that was made.
  absl::Status NotePlace(const std::string& text_hash, MachineRecord* record) const;

 private:
  // Adds to `around` what libvirt knows of networks, and to the record what was joined before rum
  // asked.
  absl::Status AskNetworks(const std::string& uri, MachineRecord* record,
                           Surroundings* around) const;

  const MachineLinks* const links_;
  RecordBox* const record_;
  const MachineKeys keys_;
};

// A new machine is made where whoever says `up` wants it, whoever started this controller.
void ChooseLibvirt(const Config& desired, const std::string& default_uri, MachineRecord* record);

}  // namespace rum

#endif  // RUM_CONTROLLER_FLEET_DESIRED_FILE_H_
