#include "controller/service/list_calls.h"

#include "controller/base/utf8.h"
#include "controller/service/call_status.h"

namespace rum {
namespace {

void Tell(const ListedMachine& machine, control::ListedMachine* told) {
  told->set_id(machine.record.id());
  told->set_name(machine.record.name());
  told->set_config_path(machine.record.config_path());
  told->set_file_gone(machine.file_gone);
  told->set_libvirt_uri(machine.record.libvirt_uri());
  const bool known = machine.unknown.empty();
  told->set_phase(known ? machine.status.phase() : MachineStatus::UNKNOWN);
  told->set_reason(machine.unknown);
  *told->mutable_conditions() = machine.status.conditions().empty() ? machine.record.conditions()
                                                                    : machine.status.conditions();
  for (const Item& item : machine.status.items()) {
    if (item.has_forward()) *told->add_forwards() = item.forward();
    if (item.state() != Item::HOLDS) *told->add_waiting() = item;
  }
}

}  // namespace

grpc::Status ServeList(Controller* controller, const control::ListMachinesRequest& request,
                       control::ListMachinesReply* reply) {
  if (request.config_path().empty()) {
    for (const ListedMachine& machine : controller->List(request.brief())) {
      Tell(machine, reply->add_machines());
    }
  } else {
    const absl::StatusOr<ListedMachine> machine = controller->ListOne(request.config_path());
    if (!machine.ok()) return ToGrpc(machine.status());
    Tell(*machine, reply->add_machines());
  }
  MakeUtf8(reply);
  return grpc::Status::OK;
}

grpc::Status ServeAdopt(Controller* controller, const control::AdoptRequest& request,
                        control::AdoptReply* reply) {
  const absl::StatusOr<std::string> from =
      controller->Adopt(request.config_path(), request.machine_id());
  if (!from.ok()) return ToGrpc(from.status());
  reply->set_from(*from);
  const absl::StatusOr<ListedMachine> machine = controller->ListOne(request.config_path());
  if (!machine.ok()) return ToGrpc(machine.status());
  Tell(*machine, reply->mutable_machine());
  MakeUtf8(reply);
  return grpc::Status::OK;
}

}  // namespace rum
