#include "state/paths.h"

#include <cctype>
#include <cstdlib>
#include <filesystem>

#include "state/bind_address.h"
#include "state/identity.h"
#include "state/names.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

std::string Absolute(const fs::path& folder, const std::string& text) {
  const char* home = std::getenv("HOME");
  if (home != nullptr && (text == "~" || text.rfind("~/", 0) == 0)) return home + text.substr(1);
  std::error_code error;
  const fs::path path = fs::weakly_canonical(folder / text, error);
  return error ? (folder / text).lexically_normal().string() : path.string();
}

// Of a file that may be a link and is meant itself.
std::string AbsoluteName(const fs::path& folder, const std::string& text) {
  const fs::path written =
      text.rfind("~/", 0) == 0 ? fs::path(Absolute(folder, text)) : folder / text;
  if (!written.has_filename() || written.filename() == "." || written.filename() == "..") {
    return Absolute(folder, text) + "/";  // a folder: validation says so
  }
  return (fs::path(Absolute(folder, written.parent_path().string())) / written.filename()).string();
}

std::string RepositoryTop(const fs::path& folder) {
  std::error_code error;
  for (fs::path at = folder;; at = at.parent_path()) {
    if (fs::exists(at / ".git", error)) return at;
    if (at == at.root_path())
      return (folder / ".git").string();  // not a folder: validation says so
  }
}

bool IsPath(const fs::path& folder, const std::string& base) {
  if (base.find("://") != std::string::npos) return false;
  std::error_code error;
  return base.find('/') != std::string::npos || base[0] == '~' ||
         fs::is_regular_file(folder / base, error);
}

// virtio limits a tag to 36 bytes. Two targets never share a tag, whatever else the file has: what
// the readable form does not tell apart ("/a/b" and "/a-b"), the hash does.
std::string TagFrom(const std::string& target) {
  std::string tag;
  bool plain = true;
  for (const char c : target.substr(target[0] == '/' ? 1 : 0)) {
    const bool alnum = std::isalnum(static_cast<unsigned char>(c)) != 0;
    plain = plain && (alnum || c == '/');
    if (alnum || (!tag.empty() && tag.back() != '-')) tag.push_back(alnum ? c : '-');
  }
  plain = plain && target[0] == '/' && target.find("//") == std::string::npos &&
          target.back() != '/' && tag.size() <= 36 && !tag.empty();
  if (plain) return tag;
  return tag.substr(0, 23) + (tag.empty() ? "m-" : "-") + Sha256Hex(target).substr(0, 12);
}

constexpr size_t kMostHostname = 63;  // one label

std::string WithoutDashAtEnd(std::string name) {
  while (!name.empty() && name.back() == '-') name.pop_back();
  return name;
}

}  // namespace

void ResolvePaths(const std::string& path, Config* config) {
  const fs::path folder = fs::path(path).parent_path();
  std::string* base = config->mutable_image()->mutable_base();
  if (!base->empty() && IsPath(folder, *base)) *base = Absolute(folder, *base);
  for (Port& port : *config->mutable_ports()) {
    if (!IsUnixBind(port.bind()) || UnixPath(port.bind()).empty()) continue;
    port.set_bind(kUnixBind + AbsoluteName(folder, UnixPath(port.bind())));
  }
  for (Mount& mount : *config->mutable_mounts()) {
    if (mount.source() == "git") {
      mount.set_source(RepositoryTop(folder));
    } else if (!mount.source().empty()) {
      mount.set_source(Absolute(folder, mount.source()));
    }
    if (mount.tag().empty() && !mount.target().empty()) mount.set_tag(TagFrom(mount.target()));
  }
}

std::string HostnameFrom(const std::string& machine_name) {
  std::string hostname;
  for (const char c : machine_name) hostname.push_back(c == '.' || c == '_' ? '-' : c);
  std::string cut = WithoutDashAtEnd(hostname.substr(0, kMostHostname));
  if (cut.empty() || IsHostname(cut)) return cut.empty() ? "rum" : cut;
  // "2024" and "localhost" are names of folders, and of no host.
  cut = WithoutDashAtEnd(("rum-" + hostname).substr(0, kMostHostname));
  return IsHostname(cut) ? cut : "rum";
}

}  // namespace rum
