#include "tests/bench/qemu_agent.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace rum::bench {
namespace {

using google::protobuf::Struct;

constexpr int kAnswerWithinSeconds = 20;
// Between two questions whether a command has ended. See docs/benchmarks.md for why it is this.
constexpr absl::Duration kPoll = absl::Milliseconds(2);

constexpr char kChannel[] = R"(<channel type='unix'>
  <source mode='bind'/>
  <target type='virtio' name='org.qemu.guest_agent.0'/>
</channel>)";

absl::Status LibvirtFailed(const std::string& what) {
  const char* message = virGetLastErrorMessage();
  return absl::InternalError(absl::StrCat(what, ": ", message == nullptr ? "?" : message));
}

absl::StatusOr<Struct> Returned(const std::string& json) {
  Struct reply;
  if (!google::protobuf::util::JsonStringToMessage(json, &reply).ok() ||
      !reply.fields().at("return").has_struct_value()) {
    return absl::InternalError(absl::StrCat("qemu-ga answered ", json));
  }
  return reply.fields().at("return").struct_value();
}

std::string ExecCommand(const std::vector<std::string>& argv) {
  Struct command;
  (*command.mutable_fields())["execute"].set_string_value("guest-exec");
  auto& arguments =
      *(*command.mutable_fields())["arguments"].mutable_struct_value()->mutable_fields();
  arguments["path"].set_string_value(argv[0]);
  auto* words = arguments["arg"].mutable_list_value();
  for (size_t i = 1; i < argv.size(); ++i) words->add_values()->set_string_value(argv[i]);
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(command, &json);
  return json;
}

}  // namespace

absl::StatusOr<QemuAgent> QemuAgent::Attach(const std::string& uri, const std::string& domain) {
  virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});  // errors are returned, not printed
  std::shared_ptr<virConnect> connection(virConnectOpen(uri.c_str()), [](virConnectPtr c) {
    if (c != nullptr) virConnectClose(c);
  });
  if (!connection) return LibvirtFailed(uri);
  std::shared_ptr<virDomain> found(virDomainLookupByName(connection.get(), domain.c_str()),
                                   [](virDomainPtr d) {
                                     if (d != nullptr) virDomainFree(d);
                                   });
  if (!found) return LibvirtFailed(domain);
  if (virDomainAttachDeviceFlags(found.get(), kChannel, VIR_DOMAIN_AFFECT_LIVE) != 0) {
    return LibvirtFailed("attaching qemu-ga's channel");
  }
  return QemuAgent(std::move(connection), std::move(found));
}

absl::StatusOr<std::string> QemuAgent::Command(const std::string& json) {
  char* reply = virDomainQemuAgentCommand(domain_.get(), json.c_str(), kAnswerWithinSeconds, 0);
  if (reply == nullptr) return LibvirtFailed("qemu-ga");
  std::string text = reply;
  std::free(reply);
  return text;
}

absl::Status QemuAgent::WaitUntilItAnswers(absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  for (;;) {
    const absl::Status pinged = Command(R"({"execute": "guest-ping"})").status();
    if (pinged.ok() || absl::Now() > deadline) return pinged;
    absl::SleepFor(absl::Milliseconds(100));
  }
}

absl::Status QemuAgent::Exec(const std::vector<std::string>& argv) {
  const absl::StatusOr<std::string> started = Command(ExecCommand(argv));
  if (!started.ok()) return started.status();
  const absl::StatusOr<Struct> child = Returned(*started);
  if (!child.ok()) return child.status();
  const std::string ask =
      absl::StrCat(R"({"execute": "guest-exec-status", "arguments": {"pid": )",
                   static_cast<int64_t>(child->fields().at("pid").number_value()), "}}");
  for (;;) {
    const absl::StatusOr<std::string> answer = Command(ask);
    if (!answer.ok()) return answer.status();
    const absl::StatusOr<Struct> status = Returned(*answer);
    if (!status.ok()) return status.status();
    if (status->fields().at("exited").bool_value()) {
      const auto code = status->fields().find("exitcode");
      if (code != status->fields().end() && code->second.number_value() == 0) {
        return absl::OkStatus();
      }
      return absl::InternalError(absl::StrCat("qemu-ga: ", argv[0], ": ", *answer));
    }
    absl::SleepFor(kPoll);
  }
}

absl::StatusOr<std::string> QemuAgent::GuestAddress(absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  do {
    virDomainInterfacePtr* interfaces = nullptr;
    const int count = virDomainInterfaceAddresses(domain_.get(), &interfaces,
                                                  VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE, 0);
    if (count < 0) return LibvirtFailed("addresses of the guest");
    std::string address;
    for (int i = 0; i < count; ++i) {
      if (interfaces[i]->naddrs > 0) address = interfaces[i]->addrs[0].addr;
      virDomainInterfaceFree(interfaces[i]);
    }
    std::free(interfaces);
    if (!address.empty()) return address;
    absl::SleepFor(absl::Milliseconds(200));
  } while (absl::Now() < deadline);
  return absl::DeadlineExceededError("the guest has no address");
}

bool QemuAgent::Attached() {
  char* xml = virDomainGetXMLDesc(domain_.get(), 0);
  const std::string text = xml == nullptr ? "" : xml;
  std::free(xml);
  return text.find("'org.qemu.guest_agent.0'") != std::string::npos;
}

}  // namespace rum::bench
