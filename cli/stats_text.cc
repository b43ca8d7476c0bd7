#include "cli/stats_text.h"

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "cli/terminal_text.h"
#include "controller/base/bytes_text.h"

namespace rum {
namespace {

constexpr char kNotKnown[] = "-";

std::optional<double> Rate(int64_t before, int64_t now, double seconds) {
  if (now < before || seconds <= 0) return std::nullopt;
  return static_cast<double>(now - before) / seconds;
}

void AddRates(const control::DiskStats& before, double seconds, control::DiskStats* now) {
  if (const auto rate = Rate(before.read_bytes(), now->read_bytes(), seconds))
    now->set_read_bytes_per_second(*rate);
  if (const auto rate = Rate(before.written_bytes(), now->written_bytes(), seconds))
    now->set_written_bytes_per_second(*rate);
}

void AddRates(const control::CardStats& before, double seconds, control::CardStats* now) {
  if (const auto rate = Rate(before.received_bytes(), now->received_bytes(), seconds))
    now->set_received_bytes_per_second(*rate);
  if (const auto rate = Rate(before.sent_bytes(), now->sent_bytes(), seconds))
    now->set_sent_bytes_per_second(*rate);
}

void AddRates(const control::ForwardStats& before, double seconds, control::ForwardStats* now) {
  if (const auto rate = Rate(before.bytes_to_guest(), now->bytes_to_guest(), seconds))
    now->set_bytes_to_guest_per_second(*rate);
  if (const auto rate = Rate(before.bytes_to_host(), now->bytes_to_host(), seconds))
    now->set_bytes_to_host_per_second(*rate);
}

std::string KeyOf(const control::DiskStats& disk) { return disk.name() + " " + disk.path(); }
std::string KeyOf(const control::CardStats& card) { return card.name(); }
std::string KeyOf(const control::ForwardStats& forward) {
  return absl::StrCat(forward.bind(), " ", forward.host(), " ", forward.guest());
}

template <typename List>
void AddRatesOf(const List& before, double seconds, List* now) {
  std::map<std::string, const typename List::value_type*> known;
  for (const auto& one : before) known[KeyOf(one)] = &one;
  for (auto& one : *now) {
    const auto found = known.find(KeyOf(one));
    if (found != known.end()) AddRates(*found->second, seconds, &one);
  }
}

// Of all of a machine's: what was counted, and the rates that are known.
struct Sum {
  double count[2] = {0, 0};
  double rate[2] = {0, 0};
  bool rated = false;
  bool any = false;
};

void AddTo(Sum* sum, int64_t one, int64_t other, bool rated, double one_rate, double other_rate) {
  sum->any = true;
  sum->count[0] += static_cast<double>(one);
  sum->count[1] += static_cast<double>(other);
  if (!rated) return;
  sum->rated = true;
  sum->rate[0] += one_rate;
  sum->rate[1] += other_rate;
}

// "12 KiB/s, 3 MiB/s", "1.5 GiB, 200 MiB".
std::string Both(const Sum& sum) {
  if (!sum.any) return kNotKnown;
  if (!sum.rated) return absl::StrCat(BytesText(sum.count[0]), ", ", BytesText(sum.count[1]));
  return absl::StrCat(BytesText(sum.rate[0]), "/s, ", BytesText(sum.rate[1]), "/s");
}

std::string Cpu(const control::MachineStats& machine, bool rates) {
  if (machine.cpus() == 0) return kNotKnown;  // libvirt's test driver tells nothing
  const absl::Duration used = absl::Seconds(machine.cpu_time_ms() / 1000);
  const std::string of = absl::StrCat(" of ", machine.cpus());
  if (!rates) return absl::StrCat(absl::FormatDuration(used), of);
  if (!machine.has_cpu_percent()) return kNotKnown + of;
  return absl::StrFormat("%.0f%%%s", machine.cpu_percent(), of);
}

// As its kernel sees it: what programs cannot have any more, of all.
std::string GuestMemory(const control::MachineStats& machine) {
  const bool told = machine.has_memory_guest_bytes() && machine.has_memory_available_bytes();
  const auto total = static_cast<double>(machine.memory_bytes());
  if (!told) return absl::StrCat(kNotKnown, " of ", BytesText(total));
  const int64_t used = machine.memory_guest_bytes() - machine.memory_available_bytes();
  return absl::StrCat(BytesText(static_cast<double>(used)), " of ",
                      BytesText(static_cast<double>(machine.memory_guest_bytes())));
}

std::string Disks(const control::MachineStats& machine) {
  if (machine.disks().empty()) return kNotKnown;
  double on_host = 0;
  double capacity = 0;
  for (const control::DiskStats& disk : machine.disks()) {
    on_host += static_cast<double>(disk.host_bytes());
    capacity += static_cast<double>(disk.capacity_bytes());
  }
  return absl::StrCat(BytesText(on_host), " of ", BytesText(capacity));
}

std::vector<std::string> Row(const control::MachineStats& machine, bool rates) {
  Sum disks, cards, forwards;
  for (const control::DiskStats& one : machine.disks())
    AddTo(&disks, one.read_bytes(), one.written_bytes(), one.has_read_bytes_per_second(),
          one.read_bytes_per_second(), one.written_bytes_per_second());
  for (const control::CardStats& one : machine.cards())
    AddTo(&cards, one.received_bytes(), one.sent_bytes(), one.has_received_bytes_per_second(),
          one.received_bytes_per_second(), one.sent_bytes_per_second());
  for (const control::ForwardStats& one : machine.forwards())
    AddTo(&forwards, one.bytes_to_guest(), one.bytes_to_host(), one.has_bytes_to_guest_per_second(),
          one.bytes_to_guest_per_second(), one.bytes_to_host_per_second());
  if (!machine.running())
    return {machine.name(), machine.reason().empty() ? "off" : "unknown", "", "", "", "", "", ""};
  return {machine.name(),       Cpu(machine, rates),
          GuestMemory(machine), BytesText(static_cast<double>(machine.memory_host_bytes())),
          Disks(machine),       Both(disks),
          Both(cards),          Both(forwards)};
}

}  // namespace

void AddRates(const control::StatsReply& before, control::StatsReply* now) {
  std::map<std::string, const control::MachineStats*> known;
  for (const control::MachineStats& machine : before.machines()) known[machine.id()] = &machine;
  for (control::MachineStats& machine : *now->mutable_machines()) {
    const auto found = known.find(machine.id());
    if (found == known.end() || !machine.running() || !found->second->running()) continue;
    const control::MachineStats& was = *found->second;
    const double seconds = static_cast<double>(machine.time_ms() - was.time_ms()) / 1000;
    const auto cpu = Rate(was.cpu_time_ms(), machine.cpu_time_ms(), seconds);
    if (!cpu.has_value()) continue;  // started again: no counter goes on
    machine.set_cpu_percent(*cpu / 10);
    AddRatesOf(was.disks(), seconds, machine.mutable_disks());
    AddRatesOf(was.cards(), seconds, machine.mutable_cards());
    AddRatesOf(was.forwards(), seconds, machine.mutable_forwards());
  }
}

std::string RenderStats(const control::StatsReply& stats, const Style& style) {
  if (stats.machines().empty()) return "no machines\n";
  bool rates = false;
  for (const control::MachineStats& machine : stats.machines())
    rates = rates || machine.has_cpu_percent();
  std::vector<std::vector<std::string>> rows = {
      {"NAME", rates ? "CPU" : "CPU TIME", "MEMORY IN GUEST", "ON HOST", "DISKS ON HOST",
       "READ, WRITTEN", "CARDS IN, OUT", "FORWARDS IN, OUT"}};
  std::string reasons;
  for (const control::MachineStats& machine : stats.machines()) {
    rows.push_back(Row(machine, rates));
    if (!machine.reason().empty())
      absl::StrAppend(&reasons, "  ", OneLine(machine.name(), style.utf8), ": ",
                      OneLine(machine.reason(), style.utf8), "\n");
  }
  // Cards are counted only where the host has an end of them; half a number is none.
  LeaveOut({6, 5, 7, 4}, style.width, &rows);
  return Columns(std::move(rows), style) + reasons;
}

}  // namespace rum
