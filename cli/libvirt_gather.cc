#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/host_gather.h"
#include "controller/service/launch.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

constexpr int kLookPatienceMs = 60000;
constexpr char kSystem[] = "qemu:///system";
constexpr char kSession[] = "qemu:///session";

// Of the daemons that serve qemu:///system, the one that runs, else the one that could.
SocketFacts SystemSocket() {
  SocketFacts best;
  for (const char* path : {"/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock",
                           "/var/run/libvirt/libvirt-sock"}) {
    SocketFacts socket_facts{path, Access::kAbsent, ""};
    struct stat info {};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::string(path).copy(address.sun_path, sizeof address.sun_path - 1);
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
      socket_facts.access = Access::kOpen;
    } else if (errno == EACCES || errno == EPERM) {
      socket_facts.access = Access::kForbidden;
    } else if (errno != ENOENT && errno != ENOTDIR) {
      socket_facts.access = Access::kNobodyListens;
    }
    close(fd);
    if (stat(path, &info) == 0) socket_facts.group = GroupName(info.st_gid);
    if (best.path.empty() || socket_facts.access > best.access) best = socket_facts;
  }
  return best;
}

bool IsProgram(const std::string& name) {
  for (const char* folder : {"/usr/sbin/", "/sbin/", "/usr/bin/", "/usr/local/sbin/"}) {
    if (access((folder + name).c_str(), X_OK) == 0) return true;
  }
  return false;
}

std::optional<uint64_t> RoomFor(const std::string& folder) {
  std::error_code error;
  fs::path at = folder;
  while (!fs::exists(at, error) && at != at.root_path()) at = at.parent_path();
  struct statvfs room {};
  if (folder.empty() || statvfs(at.c_str(), &room) != 0) return std::nullopt;
  return static_cast<uint64_t>(room.f_bavail) * room.f_frsize;
}

std::string LastLine(const std::string& text) {
  const absl::string_view trimmed = absl::StripAsciiWhitespace(text);
  const size_t end = trimmed.rfind('\n');
  return std::string(end == absl::string_view::npos ? trimmed : trimmed.substr(end + 1));
}

// libvirt itself chooses so, unless its own configuration says otherwise.
std::string DefaultUriOf(const Who& who) {
  const char* said = std::getenv("LIBVIRT_DEFAULT_URI");
  if (said != nullptr && *said != '\0') return said;
  return who.id == 0 ? kSystem : kSession;
}

}  // namespace

void GatherLibvirts(const std::string& wanted_uri, HostFacts* facts) {
  const std::string wanted = wanted_uri.empty() ? DefaultUriOf(facts->who) : wanted_uri;
  std::vector<std::string> uris = {wanted};
  for (const char* usual : {kSession, kSystem}) {
    // qemu:///session of root is no libvirt that anybody uses.
    const bool of_use = usual != std::string(kSession) || facts->who.id != 0;
    if (of_use && usual != wanted) uris.emplace_back(usual);
  }
  const bool modular = IsProgram("virtqemud") && !IsProgram("libvirtd");
  const bool installed = modular || IsProgram("libvirtd");
  for (const std::string& uri : uris) {
    LibvirtFacts libvirt;
    libvirt.uri = uri;
    libvirt.wanted = uri == wanted;
    libvirt.installed = installed;
    libvirt.modular = modular;
    if (uri == kSystem) libvirt.socket = SystemSocket();
    facts->libvirts.push_back(libvirt);
  }
  ControllerFacts& controller = facts->controller;
  const std::vector<std::string> places = ControllerPlaces();
  controller.looked_for = absl::StrJoin(places, ", ");
  for (const std::string& place : places) {
    if (controller.program.empty() && access(place.c_str(), X_OK) == 0)
      controller.program = fs::path(place).lexically_normal();
  }
  if (controller.program.empty()) return;
  // At once: each may take as long as it is waited for.
  std::vector<std::future<Printed>> looks;
  for (const LibvirtFacts& libvirt : facts->libvirts) {
    looks.push_back(std::async(std::launch::async, [&controller, uri = libvirt.uri] {
      return Run({controller.program, "look", uri}, kLookPatienceMs);
    }));
  }
  for (size_t i = 0; i < looks.size(); ++i) {
    const Printed printed = looks[i].get();
    LibvirtFacts& libvirt = facts->libvirts[i];
    control::LibvirtLook look;
    libvirt.hangs = printed.late;
    if (printed.late) continue;
    if (printed.status != 0 || !look.ParseFromString(printed.out)) {
      const std::string why = LastLine(printed.err);
      controller.broken = why.empty() ? "it ended without a word" : why;
      continue;
    }
    controller.agent = look.agent_path();
    libvirt.free_bytes = RoomFor(look.disk_folder());
    libvirt.look = std::move(look);
  }
  if (controller.agent.empty()) return;
  const Printed agent = Run({controller.agent, "--version"}, kLookPatienceMs);
  if (agent.status == 0) controller.agent_version = LastLine(agent.out);
}

}  // namespace rum
