// What libvirt says, to people.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "controller/hypervisor/domain_cause.h"
#include "controller/hypervisor/libvirt_handles.h"

namespace rum {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

constexpr int kCodes = 200;  // more than libvirt has

TEST(LibvirtWords, OfEveryCodeComeAfterOurs) {
  for (int code = 0; code < kCodes; ++code) {
    const absl::Status status = StatusOfLibvirt("start", code, "inner words");
    const std::string told(status.message());
    EXPECT_FALSE(status.ok()) << code;
    EXPECT_THAT(told, StartsWith("start: ")) << code;
    EXPECT_GT(told.find("libvirt"), 0u);
    if (code == VIR_ERR_OK) continue;
    EXPECT_THAT(told, EndsWith(" (libvirt: inner words)")) << code;
    EXPECT_GT(told.find("inner words"), std::string("start:  (libvirt: ").size() + 10) << told;
  }
}

TEST(LibvirtWords, OfKnownTroubles) {
  const auto told = [](int code, const std::string& message) {
    return std::string(StatusOfLibvirt("looking at the domain", code, message).message());
  };
  EXPECT_THAT(told(VIR_ERR_SYSTEM_ERROR, "End of file while reading data: Input/output error"),
              StartsWith("looking at the domain: libvirt cannot be reached ("));
  EXPECT_THAT(told(VIR_ERR_INTERNAL_ERROR, "client socket is closed"),
              HasSubstr("libvirt cannot be reached"));
  EXPECT_EQ(StatusOfLibvirt("x", VIR_ERR_INTERNAL_ERROR, "client socket is closed").code(),
            absl::StatusCode::kUnavailable);
  EXPECT_THAT(told(VIR_ERR_NO_DOMAIN, "Domain not found: no domain with matching uuid 'x'"),
              StartsWith("looking at the domain: libvirt does not have the machine any more ("));
  EXPECT_THAT(told(VIR_ERR_INTERNAL_ERROR, "internal error: process exited while connecting"),
              StartsWith("looking at the domain: libvirt or QEMU failed at it ("));
  EXPECT_THAT(std::string(UnreachableLibvirt("qemu:///system", VIR_ERR_SYSTEM_ERROR,
                                             "Failed to connect socket to '/x': No such file")
                              .message()),
              StartsWith("libvirt at qemu:///system cannot be reached: is libvirtd running"));
}

TEST(LibvirtWords, OfTheWayToAnotherHostSayWhatToTryThere) {
  const auto told = [](const std::string& uri, const std::string& message) {
    return std::string(UnreachableLibvirt(uri, VIR_ERR_SYSTEM_ERROR, message).message());
  };
  EXPECT_THAT(told("qemu+ssh://h/system",
                   "Cannot recv data: Host key verification failed.: Connection reset"),
              HasSubstr("`ssh HOST true` has to work"));
  EXPECT_THAT(
      told("qemu+ssh://h/system", "Cannot recv data: ada@h: Permission denied (publickey)."),
      HasSubstr("`ssh HOST true` has to work"));
  EXPECT_THAT(told("qemu+ssh://h/system", "Cannot recv data: nc: command not found"),
              HasSubstr("`ssh HOST virsh list`"));
  EXPECT_THAT(told("qemu+tls://h/system",
                   "unable to resolve address 'h' service '16514': Name or service not known"),
              HasSubstr("the name of that host is not known here"));
  EXPECT_THAT(told("qemu:///system", "Cannot recv data: Connection reset by peer"),
              testing::Not(HasSubstr("ssh")));
}

// As QEMU 7.2 and libvirt 9.0 put it.
TEST(LibvirtWords, OfWhatPeopleMeetMostNameTheCure) {
  const auto told = [](const std::string& message) {
    return std::string(
        StatusOfLibvirt("starting the machine", VIR_ERR_INTERNAL_ERROR, message).message());
  };
  EXPECT_THAT(told("unsupported configuration: Emulator '/usr/bin/qemu-system-x86_64' does not "
                   "support virt type 'kvm'"),
              HasSubstr("advanced.domain_type = \"auto\""));
  EXPECT_THAT(told("Could not access KVM kernel module: Permission denied"),
              HasSubstr("`rum doctor`"));
  EXPECT_THAT(
      told("qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory"),
      HasSubstr("lower resources.memory_mb"));
  EXPECT_THAT(told("Failed to get \"write\" lock"), HasSubstr("`virsh list --all`"));
  EXPECT_THAT(told("cannot write data: No space left on device"), HasSubstr("`df -h`"));
  EXPECT_THAT(told("Unable to find a satisfying virtiofsd"), HasSubstr("virtiofsd on the host"));
  EXPECT_THAT(told("unsupported machine type 'pc-q36'"), HasSubstr("-machine help"));
  EXPECT_THAT(told("unable to find any emulator to serve 'x86_64' architecture"),
              HasSubstr("is QEMU installed?"));
  EXPECT_THAT(told("something else"), StartsWith("starting the machine: libvirt or QEMU failed at "
                                                 "it (libvirt: something else)"));
}

TEST(DomainCauses, OfEveryStateAndReason) {
  for (int state = 0; state <= VIR_DOMAIN_PMSUSPENDED; ++state) {
    for (int reason = 0; reason < 20; ++reason) {
      const DomainCause cause = CauseOf(state, reason, false);
      const bool off = state == VIR_DOMAIN_SHUTOFF;
      const bool runs =
          state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_BLOCKED || state == VIR_DOMAIN_NOSTATE;
      EXPECT_EQ(cause >= DomainCause::kPausedByUser, !off && !runs) << state << " " << reason;
      if (runs) EXPECT_EQ(cause, DomainCause::kNone);
    }
  }
  EXPECT_EQ(CauseOf(VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_CRASHED, false), DomainCause::kCrashed);
  EXPECT_EQ(CauseOf(VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_DAEMON, false), DomainCause::kCrashed);
  EXPECT_EQ(CauseOf(VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN, false),
            DomainCause::kShutDown);
  EXPECT_EQ(CauseOf(VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_UNKNOWN, true), DomainCause::kSaved)
      << "after a start of libvirt's own";
  EXPECT_EQ(CauseOf(VIR_DOMAIN_CRASHED, VIR_DOMAIN_CRASHED_PANICKED, false),
            DomainCause::kPanicked);
  EXPECT_EQ(CauseOf(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_IOERROR, false),
            DomainCause::kPausedByDisk);
  EXPECT_FALSE(NeedsSomebody(CauseOf(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_SNAPSHOT, false)));
  EXPECT_TRUE(NeedsSomebody(CauseOf(VIR_DOMAIN_PMSUSPENDED, 0, false)));
}

}  // namespace
}  // namespace rum
