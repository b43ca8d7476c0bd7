#ifndef RUM_TESTS_E2E_WORLD_H_
#define RUM_TESTS_E2E_WORLD_H_

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "controller/aspects/plan.pb.h"

namespace rum::e2e {

// What a command did. A command that was ended by signal n has exit_status 128 + n.
struct Result {
  int exit_status = -1;
  std::string out;
  std::string err;
};

// What rum printed for programs; false: it is not that message.
bool ReadJson(const std::string& json, google::protobuf::Message* message);

// Runs argv with `env` added to the environment, `input` as its standard input; ends it after 10
// minutes.
Result Run(const std::vector<std::string>& argv, const std::map<std::string, std::string>& env = {},
           const std::string& input = "");

struct PortSpec {
  uint16_t host = 0;
  uint16_t guest = 0;
};

// The parts of a rum.toml that the tests change.
struct FileSpec {
  std::string image;
  std::string uri;
  std::string hostname = "dev";
  std::string groups = R"("docker", "builders")";
  std::string boot = "true";
  std::string system = "true";
  uint64_t memory_mb = 512;
  uint32_t cpus = 1;
  std::string disk = "4G";
  std::string resources;  // further lines of that table
  // Off, so that an edit waits for the command that a case is about, instead of being applied as it
  // is saved.
  bool auto_reconcile = false;
  bool live = true;  // see reconcile.live
  bool nat = true;   // see network.nat
  std::vector<PortSpec> ports;
  std::string more;  // further tables, as text
  std::string Toml() const;
};

// Whether cloud-init makes the user at the first boot, or the disk has it already, which halves
// that boot (tools/guest-image --lean).
enum class FirstBoot { kWhole, kShort };

// A folder with a rum.toml and homes of its own for state, data, runtime and libvirt's session, so
// that nothing of the user is met. Destroys the machine and stops the controller at its end, also
// after a failure.
class World {
 public:
  // `uri`: qemu:///session or qemu:///system.
  explicit World(const std::string& uri, FirstBoot first_boot = FirstBoot::kWhole);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  FileSpec file;
  void Save() const;  // writes `file` to rum.toml by rename
  void SaveText(const std::string& text) const;

  Result Rum(const std::vector<std::string>& arguments, const std::string& input = "",
             const std::map<std::string, std::string>& env = {}) const;
  // Standard output of a shell line in the guest, without the last newline. Fails the test if it
  // cannot run.
  std::string Guest(const std::string& shell_line) const;
  Result Virsh(const std::vector<std::string>& arguments) const;
  MachineStatus Status() const;  // `rum status -o json`
  std::string DomainName() const;
  // All files of the state folder that are records, but for what they say of what was only seen:
  // drifts, conditions, events.
  std::string RecordBytes() const;
  // Ends the controller and waits until it is gone.
  void StopController() const;

  const std::string& folder() const { return folder_; }
  // What Rum() runs, and with what in its environment.
  std::vector<std::string> Argv(const std::vector<std::string>& arguments) const;
  const std::map<std::string, std::string>& env() const { return env_; }

 private:
  std::string folder_;
  std::map<std::string, std::string> env_;
};

// A port of 127.0.0.1 that nothing listens on now.
uint16_t FreePort();
// All listening TCP ports of this network namespace, as lines of text, sorted.
std::string ListeningPorts();
// A blocking socket, the caller's, whose reads and writes take at most 20 s; -1: nobody listens.
int Connect(uint16_t port);
// Sends `text` and reads until the same number of bytes came back, at most 20 s. Empty: refused,
// reset or too late.
std::string EchoThrough(uint16_t port, const std::string& text);

// A connection that echoes a counted pattern without pause from its start to Finish().
class EchoingConnection {
 public:
  explicit EchoingConnection(uint16_t port);
  ~EchoingConnection();
  uint64_t verified_bytes() const { return verified_; }
  // Waits until at least `more` further bytes have come back right; false after 30 s or after any
  // wrong byte.
  bool Flows(uint64_t more) const;

 private:
  void Pump();
  int fd_ = -1;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> broken_ = false;
  std::atomic<uint64_t> verified_ = 0;
  std::thread thread_;
};

}  // namespace rum::e2e

#endif  // RUM_TESTS_E2E_WORLD_H_
