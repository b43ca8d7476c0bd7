#ifndef RUM_CONTROLLER_HYPERVISOR_HYPERVISOR_H_
#define RUM_CONTROLLER_HYPERVISOR_HYPERVISOR_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "controller/base/onlooker.h"
#include "controller/hypervisor/definition.h"
#include "state/config.pb.h"
#include "state/identity.h"

namespace rum {

// Why a domain is as it is, by libvirt's state and reason.
enum class DomainCause {
  kNone,  // it runs; or it is off, and libvirt does not know why, as after a start of its own
  // It is off.
  kShutDown,      // from inside, or as `virsh shutdown` asked
  kDestroyed,     // by force
  kSaved,         // its next start goes on with its memory
  kSavedToFile,   // by `virsh save`: libvirt does not know where
  kMigrated,      // it runs on another host
  kStartFailed,   // QEMU ended while it started
  kCrashed,       // QEMU ended by itself, or was killed
  kFromSnapshot,  // of when it was off
  // It is on, but stands still.
  kPausedByUser,
  kPausedByDisk,      // the host could not read or write its disk
  kPausedByWatchdog,  // of the guest
  kPausedForNow,      // libvirt holds it itself: a snapshot, a migration
  kPausedUnknown,
  kPanicked,  // the guest's kernel gave up; on, unless the definition says otherwise
  kSuspended,
  kShuttingDown,
};

// The places of a running machine that take a device while it runs.
struct PlugPorts {
  unsigned free = 0;
  unsigned all = 0;
};

// A domain as libvirt has it. The definitions are read back as the Config that they stand for: from
// the XML where it says (cpus, memory, cards, disks, shared folders, machine), else from rum's own
// metadata element in that XML.
struct DomainState {
  bool defined = false;
  bool running = false;
  bool paused = false;  // it is on, but stands still until Start() goes on with it
  DomainCause cause = DomainCause::kNone;
  Config persistent;  // valid when defined
  Config live;        // valid when running
  Room room;          // the same
  // How the file that the root disk is a layer over is no longer what it was when the disk was
  // made: "replaced", "gone". Empty: it is, or the disk needs none, or nobody can tell.
  std::string image_drift;
  bool virtiofs = false;  // the live definition shares folders by virtiofs, not by 9p
  // Of the running machine, folders that are shared with it and of which it mounts nothing any more
  // (FolderChange::kMounts): by tag, where they are.
  std::map<std::string, std::string> leaving_folders;
  std::set<std::string> others_tags;  // of folders that somebody else shares with it
  // Where this host reaches the running domain by vsock(7); 0: nowhere.
  uint32_t vsock_cid = 0;
  // Belong to the running domain; nullopt: its devices cannot be changed while it runs.
  std::optional<PlugPorts> ports;
  // Names those of its disks that became larger since it started: drives, and "" for the root disk.
  std::set<std::string> grown;
  std::vector<std::string> snapshots;  // that people made of it, by name
  std::string uri;  // of the libvirt, as it names itself; also of a machine that is not there
};

// What Remove() did.
struct Removal {
  std::vector<std::string> removed;  // "domain rum-dev-0123456789ab", "drive /path"
  std::vector<std::string> kept;     // what is there still, with the reason: "/path: why"
};

// It is on, but nothing in it can answer now.
inline bool StandsStill(const DomainState& domain) {
  return domain.running && (domain.paused || domain.cause >= DomainCause::kPausedByUser);
}

// What Define() makes anew, though it is there; everything that was on it is gone.
enum class Fresh { kNothing, kDisk, kDiskAndDrives };

// What a running machine uses. Counters are since it started.
struct DiskUsage {
  std::string name;  // "vda"
  std::string path;
  uint64_t capacity = 0;  // bytes, as all that follows
  uint64_t on_host = 0;
  uint64_t allocated = 0;
  uint64_t read = 0;
  uint64_t written = 0;
};
struct CardUsage {
  std::string name;  // the host's end
  uint64_t received = 0;
  uint64_t sent = 0;
};
struct Usage {
  uint32_t cpus = 0;
  absl::Duration cpu_time;
  uint64_t memory = 0;          // that the guest may have
  uint64_t memory_on_host = 0;  // that QEMU has
  // Comes from the guest's own word, through its balloon; nothing where it tells none.
  std::optional<uint64_t> memory_in_guest;
  std::optional<uint64_t> memory_available;
  std::vector<DiskUsage> disks;
  std::vector<CardUsage> cards;  // those with an end on the host
};

// What becomes of one disk of a running machine, or of what is on its disks.
struct DiskChange {
  enum What { kPlug, kUnplug, kGrow, kFilesystems };
  What what = kPlug;
  std::string drive;  // empty: the root disk, which can only grow
  google::protobuf::Map<std::string, FsList> filesystems;
};

// What becomes of one network card of a running machine: one of CardsOf() (domain_xml.h).
struct CardChange {
  enum What { kPlug, kUnplug };
  What what = kPlug;
  std::string card;
};

// What becomes of one folder that is shared with a running machine, or of what it mounts of all of
// them.
struct FolderChange {
  enum What { kAttach, kDetach, kMounts };
  What what = kAttach;
  std::string tag;
  // What it mounts of all folders with these tags; of others it is as before.
  std::set<std::string> tags;
  google::protobuf::RepeatedPtrField<Mount> mounts;
};

// org.rum.agent.0: what the controller asks the agent; org.rum.forward.0: forwarded connections.
enum class GuestChannel { kAgent, kForward };

// The machines of one libvirt connection. Thread-safe; calls block. Unavailable: libvirt cannot be
// reached (never "not defined"). PermissionDenied: what has the machine's name or UUID there is
// another user's, or another machine, and was not touched; see MachineIdentity::of_anybody.
class Hypervisor {
 public:
  virtual ~Hypervisor() = default;
  virtual absl::StatusOr<DomainState> Inspect(const MachineIdentity& machine) = 0;
  // Makes disks (kept when there; a new root disk fetches the image), seed and the persistent
  // definition match `config`. For anything fresh the domain must be off. A running domain keeps
  // running; idempotent; the old definition survives a failure.
  virtual absl::Status Define(const MachineIdentity& machine, const Config& config, Fresh fresh,
                              const Onlooker& onlooker) = 0;
  // Gives the running domain what Define() wrote for its next start: plugs a drive in, or grows a
  // disk to the size that it is defined with, and never makes one smaller. Unplugs a drive, which
  // nobody in the guest may use any more; Unavailable: the guest has not let go of it yet. Notes
  // which filesystems it has from now on. Ok when it is so already.
  virtual absl::Status ChangeDisk(const MachineIdentity& machine, const DiskChange& change) = 0;
  // The same of a card: as Define() wrote it for the next start, also one that is there otherwise,
  // which is exchanged, or out. What networks it needs run then, and those that rum made and nobody
  // needs any more are gone. FailedPrecondition: its network cannot change now.
  virtual absl::Status ChangeCard(const MachineIdentity& machine, const CardChange& change) = 0;
  // The same of a shared folder: attaches it as it is defined, in place of one with its tag, or
  // detaches it; nothing of it may be mounted in the guest. Notes what the machine mounts from now
  // on of the folders that it has. FailedPrecondition: somebody else's folder has the tag.
  virtual absl::Status ChangeFolder(const MachineIdentity& machine, const FolderChange& change) = 0;
  // Goes on with one that is paused, suspended or saved, and starts one anew whose kernel panicked
  // or that is shutting down. Ok when it runs already.
  virtual absl::Status Start(const MachineIdentity& machine) = 0;
  // Both of a machine that runs, and of nothing but that: its next start is as it was defined.
  // Twice is once. FailedPrecondition: it is off, has no room for that, or is one whose QEMU may
  // die of it (Room::plugs_cpus). Plugs vCPUs until it has so many. Takes none out: QEMU may die of
  // it.
  virtual absl::Status PlugCpus(const MachineIdentity& machine, uint32_t cpus) = 0;
  // Asks its guest to take or give memory until it has so much, in MiB, and waits for that while it
  // goes on. Where the guest stops is no failure: how it stands then is returned.
  virtual absl::StatusOr<Room> ResizeMemory(const MachineIdentity& machine, uint64_t memory_mb) = 0;
  // ACPI first, after `grace` force. Ok when it is off already.
  virtual absl::Status Stop(const MachineIdentity& machine, absl::Duration grace) = 0;
  // Undefines the domain, with its snapshots, and deletes what rum made for the machine and nobody
  // stands on; names it, and what it kept.
  virtual absl::StatusOr<Removal> Remove(const MachineIdentity& machine) = 0;
  // The networks of this libvirt, by name, without what rum made for the machine; none where a
  // machine cannot join any.
  virtual absl::StatusOr<std::set<std::string>> NetworksOfOthers(
      const MachineIdentity& machine) = 0;
  // The files of this host that disks, of rum's and of others, are layers over.
  virtual absl::StatusOr<std::set<std::string>> ImagesInUse() = 0;
  // A connected stream socket to a channel of the running domain; the caller owns it. NotFound: the
  // domain was started without this channel.
  virtual absl::StatusOr<int> OpenChannel(const MachineIdentity& machine, GuestChannel channel) = 0;
  // The same to the serial console. AlreadyExists: somebody is at it, and is sent away only with
  // `force`. NotFound: the machine has none. Unavailable: it is off.
  virtual absl::StatusOr<int> OpenConsole(const MachineIdentity& machine, bool force) = 0;
  // The end of what the serial console said since the machine started last, `most` bytes of it.
  // NotFound: it is not kept, as of machines that an earlier rum made.
  virtual absl::StatusOr<std::string> ConsoleLog(const MachineIdentity& machine, size_t most) = 0;
  // Returns them by id, of those of `machines` that run; one question for all, which waits for no
  // machine that is busy.
  virtual absl::StatusOr<std::map<std::string, Usage>> Usages(
      const std::vector<MachineIdentity>& machines) = 0;
};

// Connects when it is first asked, and again when libvirt was away. `on_event` is called with a
// domain's name and with its UUID (a renamed domain keeps that) when libvirt reports anything about
// it, and with an empty one when libvirt went or came back, so that anything may have happened to
// any of them; it must not block. `uri`: empty for libvirt's own default. `agent_binary`: path of
// the static rum-agent that the seed carries.
absl::StatusOr<std::unique_ptr<Hypervisor>> ConnectLibvirt(
    const std::string& uri, const std::string& agent_binary,
    std::function<void(const std::string& domain_name)> on_event);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_HYPERVISOR_H_
