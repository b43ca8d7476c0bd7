#include <map>
#include <string>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/report.h"
#include "state/item_name.h"

namespace rum {
namespace {

constexpr char kPorts[] = "ports";

std::string Bytes(int64_t bytes) {
  if (bytes < 1000) return absl::StrCat(bytes, " B");
  if (bytes < 1000 * 1000) return absl::StrCat(bytes / 1000, " kB");
  if (bytes < 1000LL * 1000 * 1000) return absl::StrCat(bytes / 1000 / 1000, " MB");
  return absl::StrCat(bytes / 1000 / 1000 / 1000, " GB");
}

// As the diff names it.
std::string FieldOf(const std::string& bind, uint32_t port) {
  return ItemName(kPorts, {bind, absl::StrCat(port)});
}

std::string Traffic(const ForwardState& state) {
  std::string text = absl::StrCat(state.open_connections, " open, ");
  if (state.bytes_in + state.bytes_out == 0) {
    absl::StrAppend(&text, "0 B");
  } else {
    absl::StrAppend(&text, Bytes(state.bytes_in), " in, ", Bytes(state.bytes_out), " out");
  }
  if (state.health == ForwardHealth::kDown) absl::StrAppend(&text, ", down");
  if (!state.last_error.empty()) absl::StrAppend(&text, ", last error: ", state.last_error);
  return text;
}

ForwardFacts FactsOf(const Port& port, const std::string& bind, const ForwardState& state) {
  ForwardFacts facts;
  facts.set_bind(bind);
  facts.set_host(port.host());
  facts.set_guest(port.guest());
  facts.set_auto_(port.auto_());
  facts.set_open_connections(state.open_connections);
  facts.set_bytes_to_guest(state.bytes_in);
  facts.set_bytes_to_host(state.bytes_out);
  facts.set_last_error(state.last_error);
  facts.set_health(state.health == ForwardHealth::kUp     ? ForwardFacts::UP
                   : state.health == ForwardHealth::kDown ? ForwardFacts::DOWN
                                                          : ForwardFacts::UNKNOWN);
  return facts;
}

// `state` is null where there is no listener for it.
void ReportPort(const Port& port, const std::string& bind, const ForwardState* state,
                Report* report) {
  const std::string address = HostPort(bind, port.host());
  const std::string field = FieldOf(bind, port.host());
  const std::string name = absl::StrCat(address, " → ", port.guest());
  const std::string wanted = absl::StrCat(port.guest());
  if (state == nullptr) {
    *report
         ->AddCurable(field, kPorts, report->MovedBy(field, wanted, Item::HOST), "closed", wanted,
                      absl::StrCat(name, " is not open: ", report->Remedy("opened")))
         ->mutable_forward() = FactsOf(port, bind, ForwardState());
    return;
  }
  if (state->bound.ok()) {
    *report->AddHolding(field, absl::StrCat(name, " (", Traffic(*state), ")"))->mutable_forward() =
        FactsOf(port, bind, *state);
    return;
  }
  std::string why(state->bound.message());
  const std::string prefix = absl::StrCat("port ", address, ": ");
  if (absl::StartsWith(why, prefix)) why = why.substr(prefix.size());
  Item* item =
      report->Add(field, Item::FAILING, Item::HOST, why, wanted, absl::StrCat(name, ": ", why));
  item->set_remedy(kPorts);
  *item->mutable_forward() = FactsOf(port, bind, *state);
}

}  // namespace

void ReportPorts(Report* report) {
  std::map<std::tuple<std::string, uint32_t, uint32_t>, const ForwardState*> listed;
  for (const ForwardState& state : report->observed().forwards) {
    listed[{state.forward.bind, state.forward.host, state.forward.guest}] = &state;
  }
  for (const Port& port : report->desired().ports()) {
    const std::string bind = port.bind().empty() ? "127.0.0.1" : port.bind();
    auto found = listed.find({bind, port.host(), port.guest()});
    ReportPort(port, bind, found == listed.end() ? nullptr : found->second, report);
    if (found != listed.end()) listed.erase(found);
  }
  for (const auto& [key, state] : listed) {
    const std::string address = HostPort(std::get<0>(key), std::get<1>(key));
    const std::string guest = absl::StrCat(std::get<2>(key));
    report->AddCurable(FieldOf(std::get<0>(key), std::get<1>(key)), kPorts, Item::FILE, guest, "",
                       absl::StrCat(address, " → ", guest, " is open: ", report->Remedy("closed")));
  }
}

}  // namespace rum
