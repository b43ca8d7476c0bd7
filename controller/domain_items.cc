#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "controller/report.h"
#include "state/diff.h"

namespace rum {
namespace {

constexpr char kDomain[] = "domain";
constexpr char kMemory[] = "resources.memory_mb";
constexpr char kCpus[] = "resources.cpus";

std::string OrAbsent(const std::string& value) { return value.empty() ? "absent" : value; }

void ReportWaiting(const Change& change, Report* report) {
  const bool replaced =
      change.field() == "image.base" && !report->observed().domain.image_drift.empty();
  if (replaced) {
    report
        ->Add(change.field(), Item::NEEDS_RECREATE,
              report->MovedBy(change.field(), change.after(), Item::HOST), change.before(),
              change.after(), absl::StrCat(change.after(), ": `rum up --reset` makes a new disk"))
        ->set_reason(change.reason());
    return;
  }
  const bool recreate = change.effect() == RECREATE;
  std::string unit;
  if (change.field() == kMemory) unit = " MiB";
  if (change.field() == kCpus) unit = " vCPUs";
  report
      ->Add(change.field(), recreate ? Item::NEEDS_RECREATE : Item::NEEDS_RESTART,
            report->MovedBy(change.field(), change.after(), Item::LIBVIRT), change.before(),
            change.after(),
            absl::StrCat(OrAbsent(change.before()), unit, " now, ", OrAbsent(change.after()), unit,
                         recreate ? absl::StrCat(" needs ", RecreateCommand(change.field()))
                                  : " at the next start"))
      ->set_reason(change.reason());
}

// What runs is right, but the definition for the next start is not.
void ReportPersistent(std::set<std::string>* reported, Report* report) {
  const Config& persistent = report->observed().domain.persistent;
  Config comparable = report->desired();
  *comparable.mutable_ports() = persistent.ports();
  *comparable.mutable_provision() = persistent.provision();
  for (const FieldChange& change : Diff(persistent, comparable)) {
    if (change.effect != RESTART || !reported->insert(change.field).second) continue;
    report->AddCurable(
        change.field, kDomain, report->MovedBy(change.field, change.after, Item::LIBVIRT),
        change.before, change.after,
        absl::StrCat(OrAbsent(change.before), " in libvirt's definition, ", OrAbsent(change.after),
                     " wanted: ", report->Remedy("written")));
  }
}

}  // namespace

// Memory and cpus always, every other field of the definition when something is with it.
void ReportDomain(Report* report) {
  const DomainState& domain = report->observed().domain;
  std::set<std::string> reported;
  for (const Change& change : report->plan().waiting()) {
    if (change.effect() == LIVE_OPT_IN) continue;  // with the scripts
    ReportWaiting(change, report);
    reported.insert(change.field());
  }
  if (domain.defined) {
    ReportPersistent(&reported, report);
  } else if (domain.running) {
    report->AddCurable(kDomain, kDomain, Item::LIBVIRT, "not defined", "defined",
                       absl::StrCat("no longer defined in libvirt: ", report->Remedy("defined")));
  }
  const Resources& now = (domain.running ? domain.live : domain.persistent).resources();
  if (reported.count(kMemory) == 0) {
    report->AddHolding(kMemory, absl::StrCat(now.memory_mb(), " MiB"));
  }
  if (reported.count(kCpus) == 0) {
    report->AddHolding(kCpus, absl::StrCat(now.cpus(), now.cpus() == 1 ? " vCPU" : " vCPUs"));
  }
}

}  // namespace rum
