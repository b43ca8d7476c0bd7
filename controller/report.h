#ifndef RUM_CONTROLLER_REPORT_H_
#define RUM_CONTROLLER_REPORT_H_

#include <string>
#include <vector>

#include "controller/plan.h"
#include "state/diff.h"

namespace rum {

// A drift report in the making: what MakeStatus gives to those who know one part of the world each.
class Report {
 public:
  // All three outlive it.
  Report(const Config& desired, const MachineRecord& record, const Observed& observed);

  const Config& desired() const { return desired_; }
  const MachineRecord& record() const { return record_; }
  const Observed& observed() const { return observed_; }
  const Plan& plan() const { return plan_; }

  // Who moved `field` away from `wanted`: whoever did when it was first seen; else the file, when
  // it says something else than what was applied; else `other`, who owns the other end.
  Item::Author MovedBy(const std::string& field, const std::string& wanted,
                       Item::Author other) const;
  // "will be restored", unless the loop only reports.
  std::string Remedy(const std::string& will) const;
  const Action* ActionOf(const std::string& field) const;  // null: the plan has none

  Item* AddHolding(const std::string& field, const std::string& text);
  Item* Add(const std::string& field, Item::State state, Item::Author moved_by,
            const std::string& observed, const std::string& wanted, const std::string& text);
  // What the action of `remedy` puts right: pending when the file moved it, drifted otherwise.
  Item* AddCurable(const std::string& field, const std::string& remedy, Item::Author moved_by,
                   const std::string& observed, const std::string& wanted, const std::string& text);

  // Who can tell whether what is added from now on holds.
  void KnownBy(Item::Author who) { known_by_ = who; }

  std::vector<Item> Take() { return std::move(items_); }

 private:
  const Config& desired_;
  const MachineRecord& record_;
  const Observed& observed_;
  const Plan plan_;
  std::vector<FieldChange> file_changes_;
  std::vector<Item> items_;
  Item::Author known_by_ = Item::LIBVIRT;
};

// Each adds the items of its part.
void ReportRun(int64_t now_ms, Report* report);
void ReportPorts(Report* report);
void ReportGuest(Report* report);    // needs a guest: hostname, groups, keys, cards, storage
void ReportDomain(Report* report);   // both definitions
void ReportScripts(Report* report);  // needs a guest

}  // namespace rum

#endif  // RUM_CONTROLLER_REPORT_H_
