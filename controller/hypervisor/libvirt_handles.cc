#include "controller/hypervisor/libvirt_handles.h"

#include <libvirt/virterror.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace rum {
namespace {

// The code decides retry: Unavailable backs off, FailedPrecondition and InvalidArgument wait for
// somebody.
absl::StatusCode CodeOf(int code) {
  switch (code) {
    case VIR_ERR_NO_CONNECT:
    case VIR_ERR_INVALID_CONN:
    case VIR_ERR_RPC:
    case VIR_ERR_SYSTEM_ERROR:
    case VIR_ERR_GNUTLS_ERROR:
    case VIR_ERR_NO_SERVER:
      return absl::StatusCode::kUnavailable;
    case VIR_ERR_OPERATION_TIMEOUT:
    case VIR_ERR_AGENT_UNRESPONSIVE:
      return absl::StatusCode::kDeadlineExceeded;
    case VIR_ERR_NO_DOMAIN:
    case VIR_ERR_NO_NETWORK:
    case VIR_ERR_NO_STORAGE_POOL:
    case VIR_ERR_NO_STORAGE_VOL:
      return absl::StatusCode::kNotFound;
    case VIR_ERR_XML_ERROR:
    case VIR_ERR_XML_DETAIL:
    case VIR_ERR_XML_INVALID_SCHEMA:
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_INVALID_ARG:
      return absl::StatusCode::kInvalidArgument;
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_UNAVAILABLE:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_ACCESS_DENIED:
    case VIR_ERR_OPERATION_DENIED:
      return absl::StatusCode::kPermissionDenied;
    case VIR_ERR_NO_MEMORY:
      return absl::StatusCode::kResourceExhausted;
    default:
      return absl::StatusCode::kFailedPrecondition;
  }
}

// libvirt has one code for each errno that it met, so that its text must tell a broken connection.
bool IsLoss(int code, const std::string& message) {
  if (code == VIR_ERR_NO_CONNECT || code == VIR_ERR_INVALID_CONN || code == VIR_ERR_RPC ||
      code == VIR_ERR_NO_SERVER) {
    return true;
  }
  for (const char* part : {"End of file while reading data", "client socket is closed",
                           "Cannot recv data", "Cannot write data", "Failed to connect socket",
                           "connection closed due to keepalive timeout"}) {
    if (absl::StrContains(message, part)) return true;
  }
  return false;
}

const char* WordsOf(int code) {
  switch (code) {
    case VIR_ERR_SYSTEM_ERROR:
    case VIR_ERR_GNUTLS_ERROR:
      return "the host did not let libvirt do it";
    case VIR_ERR_OPERATION_TIMEOUT:
      return "libvirt was busy with something else; try again";
    case VIR_ERR_NO_DOMAIN:
      return "libvirt does not have the machine any more";
    case VIR_ERR_NO_NETWORK:
      return "libvirt does not have the network any more";
    case VIR_ERR_NO_STORAGE_POOL:
    case VIR_ERR_NO_STORAGE_VOL:
      return "libvirt does not have the disk any more";
    case VIR_ERR_XML_ERROR:
    case VIR_ERR_XML_DETAIL:
    case VIR_ERR_XML_INVALID_SCHEMA:
    case VIR_ERR_INVALID_ARG:
      return "libvirt does not take it as it is";
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_NO_SUPPORT:
      return "the libvirt or QEMU of this host cannot do that";
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_UNAVAILABLE:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_ACCESS_DENIED:
    case VIR_ERR_OPERATION_DENIED:
      return "this user may not do that in libvirt (is the user in the group libvirt?)";
    case VIR_ERR_NO_MEMORY:
      return "the host has not enough memory";
    case VIR_ERR_INTERNAL_ERROR:
      return "libvirt or QEMU failed at it";
    default:
      return "libvirt refused it";
  }
}

// libvirt passes on what QEMU and the kernel said; what people meet most has its cure beside it.
// The first that is found counts.
struct Trouble {
  const char* part;  // of libvirt's text
  const char* advice;
};
constexpr char kNoKvm[] =
    "this host gives QEMU no KVM, and `rum doctor` says why; advanced.domain_type = \"auto\" "
    "emulates where there is none";
constexpr char kTooMuchMemory[] =
    "this host cannot give the guest that much memory: lower resources.memory_mb, or end what else "
    "takes it (`free -m`)";
constexpr char kInUse[] = "another QEMU has the disk open: `virsh list --all` shows the machines";
constexpr char kNoSuchMachine[] =
    "libvirt or QEMU knows no such machine: `qemu-system-x86_64 -machine help` lists them, "
    "advanced.machine = \"q35\" is everywhere";
constexpr Trouble kTroubles[] = {
    {"does not support virt type 'kvm'", kNoKvm},
    {"KVM kernel module", kNoKvm},
    {"failed to initialize kvm", kNoKvm},
    {"cannot set up guest memory", kTooMuchMemory},
    {"phys-bits too low", kTooMuchMemory},
    {"Failed to get \"write\" lock", kInUse},
    {"Failed to get shared \"write\" lock", kInUse},
    {"No space left on device", "a disk of the host is full: `df -h` shows which"},
    {"Disk quota exceeded", "the quota of the host's disk is used up: `quota` shows it"},
    {"virtiofsd died",
     "may it read the folder? Its log in /var/log/libvirt/qemu says why it ended"},
    {"virtiofsd.log",
     "an earlier virtiofsd of the machine still runs: `pgrep -a virtiofsd` shows it"},
    {"requires shared memory", "a restart gives the machine memory that can be shared"},
    {"No more available PCI", "the machine has no free PCIe port: a restart makes one"},
    {"irtiofsd", "sharing folders needs virtiofsd on the host: `rum doctor` says what to install"},
    {"unsupported machine type", kNoSuchMachine},
    {"does not support machine type", kNoSuchMachine},
    {"No PCI buses available", kNoSuchMachine},
    {"Maximum CPUs greater than", "such a machine has not that many vCPUs: lower resources.cpus"},
    {"any emulator", "is QEMU installed? `rum doctor` says what to install"},
};

std::string AdviceOn(const std::string& message) {
  for (const Trouble& trouble : kTroubles) {
    if (absl::StrContains(message, trouble.part)) return absl::StrCat(": ", trouble.advice);
  }
  return "";
}

// Of the way to another host's libvirt; empty: what failed is something else.
std::string WayAdvice(const std::string& name, const std::string& message) {
  for (const char* part : {"Could not resolve hostname", "Name or service not known",
                           "Temporary failure in name resolution", "unable to resolve"}) {
    if (absl::StrContains(message, part))
      return ": the name of that host is not known here: is it right, and is this host online?";
  }
  const bool by_ssh = absl::StrContains(name, "+ssh:") || absl::StrContains(name, "+libssh");
  if (!by_ssh) return "";
  for (const char* part : {"Permission denied", "Host key verification failed"}) {
    if (absl::StrContains(message, part))
      return ": ssh is not let in there without a question: `ssh HOST true` has to work as it is, "
             "by a key and with "
             "the host known;";
  }
  if (absl::StrContains(message, "Cannot recv data"))
    return ": does `ssh HOST virsh list` work? It needs libvirt there, and a user who may use it;";
  return "";
}

}  // namespace

absl::Status StatusOfLibvirt(const std::string& doing, int code, const std::string& message) {
  if (code == VIR_ERR_OK) {
    return absl::UnknownError(absl::StrCat(doing, ": libvirt failed and gave no reason"));
  }
  const bool lost = IsLoss(code, message);
  const std::string detail = message.empty() ? "" : absl::StrCat(" (libvirt: ", message, ")");
  return absl::Status(lost ? absl::StatusCode::kUnavailable : CodeOf(code),
                      absl::StrCat(doing, ": ", lost ? "libvirt cannot be reached" : WordsOf(code),
                                   lost ? "" : AdviceOn(message), detail));
}

absl::Status LibvirtError(const std::string& doing) {
  const virError* error = virGetLastError();
  const bool none = error == nullptr;
  return StatusOfLibvirt(doing, none ? VIR_ERR_OK : error->code,
                         none || error->message == nullptr ? "" : error->message);
}

absl::Status UnreachableLibvirt(const std::string& name, int code, const std::string& message) {
  std::string advice = WayAdvice(name, message);
  if (!advice.empty()) {
    absl::StrAppend(&advice, kAskDoctor);
  } else if (absl::StrContains(message, "Failed to connect socket") ||
             absl::StrContains(message, "Connection refused") || code == VIR_ERR_NO_CONNECT) {
    advice = absl::StrCat(": is libvirtd running there, and may this user use it?", kAskDoctor);
  } else if (CodeOf(code) == absl::StatusCode::kPermissionDenied) {
    advice =
        absl::StrCat(": this user may not use it (is the user in the group libvirt?)", kAskDoctor);
  } else if (CodeOf(code) == absl::StatusCode::kInvalidArgument) {
    advice = ": is the URI right?";
  }
  const std::string detail = message.empty() ? "" : absl::StrCat(" (libvirt: ", message, ")");
  return absl::UnavailableError(
      absl::StrCat("libvirt at ", name, " cannot be reached", advice, detail));
}

int LastLibvirtCode() {
  const virError* error = virGetLastError();
  return error == nullptr ? VIR_ERR_OK : error->code;
}

}  // namespace rum
