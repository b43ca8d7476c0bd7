#include "cli/list_text.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/terminal_text.h"
#include "state/item_name.h"
#include "state/place.h"
#include "state/schema.h"

namespace rum {
namespace {

constexpr size_t kShortestId = 4;

std::string PortText(const ForwardFacts& forward) {
  const bool everyday = forward.bind().empty() || forward.bind() == "127.0.0.1";
  return absl::StrCat(
      everyday ? absl::StrCat(forward.host()) : HostPort(forward.bind(), forward.host()), "->",
      forward.guest());
}

std::string Ports(const control::ListedMachine& machine) {
  std::vector<std::string> ports;
  for (const ForwardFacts& forward : machine.forwards()) ports.push_back(PortText(forward));
  return absl::StrJoin(ports, " ");
}

// The fields that do not hold, each once.
std::string Waiting(const control::ListedMachine& machine) {
  std::vector<std::string> fields;
  for (const Item& item : machine.waiting()) {
    if (std::find(fields.begin(), fields.end(), item.field()) == fields.end())
      fields.push_back(item.field());
  }
  return absl::StrJoin(fields, " ");
}

// What `rum status` says of one machine as well, where the window is too narrow for all:
// conditions, which say nothing when they are cut, then forwards and ids.
void LeaveOutWhatStatusSays(size_t width, std::vector<std::vector<std::string>>* rows) {
  constexpr size_t kForIds = 70;
  constexpr size_t kTelling = 24;  // of conditions
  std::vector<std::vector<std::string>> fitting = *rows;
  for (std::vector<std::string>& row : fitting) row[6] = CutTo(row[6], kTelling, true);
  LeaveOut({6}, width, &fitting);
  for (std::vector<std::string>& row : *rows) {
    row.resize(fitting.front().size());
    if (width == 0 || width >= kForIds) continue;
    row.erase(row.begin() + 4);
    row.erase(row.begin() + 1);
  }
}

std::string NameAndFile(const control::ListedMachine& machine) {
  return absl::StrCat("  ", machine.name(), "  ", machine.id(), "  ",
                      machine.file_gone() ? "file gone: " : "", machine.config_path());
}

absl::Status Ambiguous(const std::string& said,
                       const std::vector<const control::ListedMachine*>& meant) {
  std::string text = absl::StrCat("-m ", said, " may be several machines; say the id:");
  for (const control::ListedMachine* machine : meant) {
    absl::StrAppend(&text, "\n", NameAndFile(*machine));
  }
  return absl::InvalidArgumentError(text);
}

}  // namespace

std::string RenderMachines(const control::ListMachinesReply& machines, const Style& style) {
  if (machines.machines().empty()) return "no machines\n";
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "ID", "PHASE", "FILE", "FORWARDS", "WAITS", "CONDITIONS"}};
  std::string reasons;
  for (const control::ListedMachine& machine : machines.machines()) {
    rows.push_back({machine.name(), machine.id(), PhaseText(machine.phase()),
                    absl::StrCat(machine.file_gone() ? "file gone: " : "", machine.config_path()),
                    Ports(machine), Waiting(machine), ConditionsText(machine.conditions())});
    if (machine.reason().empty()) continue;
    const std::string& who = machine.name().empty() ? machine.id() : machine.name();
    absl::StrAppend(&reasons, "  ", OneLine(who, style.utf8), ": ",
                    OneLine(machine.reason(), style.utf8), "\n");
  }
  LeaveOutWhatStatusSays(style.width, &rows);
  std::string table;
  for (const absl::string_view line :
       absl::StrSplit(Columns(std::move(rows), style), '\n', absl::SkipEmpty())) {
    absl::StrAppend(&table, absl::StripTrailingAsciiWhitespace(line), "\n");
  }
  return table + reasons;
}

absl::StatusOr<control::ListedMachine> PickMachine(const control::ListMachinesReply& machines,
                                                   const std::string& said) {
  std::vector<const control::ListedMachine*> named;
  std::vector<const control::ListedMachine*> begun;
  std::vector<std::string> names;
  for (const control::ListedMachine& machine : machines.machines()) {
    const std::string domain = absl::StrCat("rum-", machine.name(), "-", machine.id());
    if (machine.id() == said || domain == said) return machine;
    if (machine.name() == said) named.push_back(&machine);
    if (said.size() >= kShortestId && machine.id().rfind(said, 0) == 0) begun.push_back(&machine);
    names.push_back(machine.name());
  }
  const auto& meant = named.empty() ? begun : named;
  if (meant.size() == 1) return *meant[0];
  if (meant.size() > 1) return Ambiguous(said, meant);
  return absl::NotFoundError(absl::StrCat("there is no machine ", said, DidYouMean(said, names),
                                          "; `rum list` shows all"));
}

control::ListMachinesReply ListOfRecords(const std::vector<StoredRecord>& records,
                                         const std::string& why) {
  control::ListMachinesReply list;
  for (const StoredRecord& stored : records) {
    // Consent alone, before the first up, is no machine.
    const bool made = !stored.record.ok() || stored.record->generation() > 0 ||
                      stored.record->consented().empty();
    if (!made) continue;
    control::ListedMachine* machine = list.add_machines();
    machine->set_id(stored.id);
    machine->set_phase(MachineStatus::UNKNOWN);
    machine->set_reason(stored.record.ok() ? why : std::string(stored.record.status().message()));
    if (!stored.record.ok()) continue;
    const MachineRecord& record = *stored.record;
    machine->set_name(record.name());
    machine->set_config_path(record.config_path());
    machine->set_file_gone(IsGone(record.config_path()));
    machine->set_libvirt_uri(record.libvirt_uri());
    *machine->mutable_conditions() = record.conditions();
    for (const Port& port : record.applied().ports()) {
      ForwardFacts* forward = machine->add_forwards();
      forward->set_bind(port.bind());
      forward->set_host(port.host());
      forward->set_guest(port.guest());
    }
    for (const Drift& drift : record.drifts()) {
      Item* item = machine->add_waiting();
      item->set_field(drift.field());
      item->set_wanted(drift.wanted());
      item->set_first_seen_ms(drift.first_seen_ms());
      item->set_state(Item::DRIFTED);
    }
  }
  std::sort(list.mutable_machines()->begin(), list.mutable_machines()->end(),
            [](const control::ListedMachine& a, const control::ListedMachine& b) {
              return std::make_pair(a.name(), a.config_path()) <
                     std::make_pair(b.name(), b.config_path());
            });
  return list;
}

}  // namespace rum
