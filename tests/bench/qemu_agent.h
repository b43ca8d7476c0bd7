#ifndef RUM_TESTS_BENCH_QEMU_AGENT_H_
#define RUM_TESTS_BENCH_QEMU_AGENT_H_

#include <libvirt/libvirt.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace rum::bench {

// The guest agent of QEMU, reached as `virsh qemu-agent-command` does it, yet over one connection
// to libvirt that stays open: the fastest way that there is from outside of libvirtd.
class QemuAgent {
 public:
  // Gives the running domain the channel of qemu-ga.
  static absl::StatusOr<QemuAgent> Attach(const std::string& uri, const std::string& domain);

  absl::Status WaitUntilItAnswers(absl::Duration patience);
  // Runs argv[0], a full path, and waits until it has ended with status 0.
  absl::Status Exec(const std::vector<std::string>& argv);
  // The guest's address on libvirt's network, once it has a lease.
  absl::StatusOr<std::string> GuestAddress(absl::Duration patience);
  // Whether the domain still has the channel: nobody took it away meanwhile.
  bool Attached();

 private:
  QemuAgent(std::shared_ptr<virConnect> connection, std::shared_ptr<virDomain> domain)
      : connection_(std::move(connection)), domain_(std::move(domain)) {}
  absl::StatusOr<std::string> Command(const std::string& json);

  std::shared_ptr<virConnect> connection_;
  std::shared_ptr<virDomain> domain_;
};

}  // namespace rum::bench

#endif  // RUM_TESTS_BENCH_QEMU_AGENT_H_
