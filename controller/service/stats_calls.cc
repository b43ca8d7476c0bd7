#include "controller/service/stats_calls.h"

#include "controller/base/utf8.h"
#include "controller/service/call_status.h"

namespace rum {
namespace {

int64_t Signed(uint64_t number) { return static_cast<int64_t>(number); }

void TellUsage(const Usage& usage, control::MachineStats* told) {
  told->set_running(true);
  told->set_cpus(usage.cpus);
  told->set_cpu_time_ms(absl::ToInt64Milliseconds(usage.cpu_time));
  told->set_memory_bytes(Signed(usage.memory));
  told->set_memory_host_bytes(Signed(usage.memory_on_host));
  if (usage.memory_in_guest.has_value())
    told->set_memory_guest_bytes(Signed(*usage.memory_in_guest));
  if (usage.memory_available.has_value())
    told->set_memory_available_bytes(Signed(*usage.memory_available));
  for (const DiskUsage& disk : usage.disks) {
    control::DiskStats* one = told->add_disks();
    one->set_name(disk.name);
    one->set_path(disk.path);
    one->set_capacity_bytes(Signed(disk.capacity));
    one->set_host_bytes(Signed(disk.on_host));
    one->set_allocated_bytes(Signed(disk.allocated));
    one->set_read_bytes(Signed(disk.read));
    one->set_written_bytes(Signed(disk.written));
  }
  for (const CardUsage& card : usage.cards) {
    control::CardStats* one = told->add_cards();
    one->set_name(card.name);
    one->set_received_bytes(Signed(card.received));
    one->set_sent_bytes(Signed(card.sent));
  }
}

void TellForward(const ForwardState& state, control::ForwardStats* told) {
  told->set_bind(state.forward.bind);
  told->set_host(state.forward.host);
  told->set_guest(state.forward.guest);
  told->set_open_connections(state.open_connections);
  told->set_bytes_to_guest(state.bytes_in);
  told->set_bytes_to_host(state.bytes_out);
}

}  // namespace

grpc::Status ServeStats(Controller* controller, const control::StatsRequest& request,
                        control::StatsReply* reply) {
  const absl::StatusOr<std::vector<MachineUsage>> usages =
      controller->Usages(request.config_path());
  if (!usages.ok()) return ToGrpc(usages.status());
  for (const MachineUsage& usage : *usages) {
    control::MachineStats* told = reply->add_machines();
    told->set_id(usage.machine.id);
    told->set_name(usage.machine.name);
    told->set_config_path(usage.machine.config_path);
    told->set_reason(usage.unknown);
    if (usage.unknown.empty()) told->set_time_ms(absl::ToUnixMillis(usage.at));
    if (usage.usage.has_value()) TellUsage(*usage.usage, told);
    for (const ForwardState& forward : usage.forwards) TellForward(forward, told->add_forwards());
  }
  MakeUtf8(reply);
  return grpc::Status::OK;
}

}  // namespace rum
