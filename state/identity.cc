#include "state/identity.h"

#include <openssl/sha.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "state/names.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

std::string EnvironmentOr(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

std::string Home() { return EnvironmentOr("HOME", "/"); }

bool EndsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// A folder may have any name; a machine may not.
std::string Sanitized(const std::string& folder) {
  constexpr size_t kMost = 63;  // domains, volumes and files are named after it
  std::string name;
  for (const char c : folder) {
    const bool fits = IsMachineName("a" + std::string(1, c));
    if (!name.empty() || (fits && std::isalnum(static_cast<unsigned char>(c)))) {
      name.push_back(fits ? c : '-');
    }
  }
  return name.empty() ? "rum" : name.substr(0, kMost);
}

}  // namespace

absl::StatusOr<MachineIdentity> IdentityOf(const std::string& path) {
  std::error_code error;
  const fs::path given(path);
  const fs::path folder =
      fs::canonical(given.parent_path().empty() ? "." : given.parent_path(), error);
  if (error) return absl::NotFoundError(absl::StrCat(path, ": its folder: ", error.message()));
  MachineIdentity identity;
  identity.config_path = folder / given.filename();
  const std::string file = given.filename();
  if (file == "rum.toml") {
    identity.name = Sanitized(folder.filename());
  } else if (EndsWith(file, ".rum.toml")) {
    identity.name = file.substr(0, file.size() - 9);
  } else if (EndsWith(file, ".toml")) {
    identity.name = file.substr(0, file.size() - 5);
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": the name of a machine's file must end in .toml"));
  }
  if (!IsMachineName(identity.name)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": the machine's name \"", identity.name,
                                                   "\" must match [a-zA-Z0-9][a-zA-Z0-9._-]*"));
  }
  identity.id = NewMachineId(identity.config_path);
  return identity;
}

std::string NewMachineId(const std::string& config_path, int nth) {
  // No path has a NUL in it.
  const std::string again = nth == 0 ? "" : std::string(1, '\0') + std::to_string(nth);
  return Sha256Hex(config_path + again).substr(0, 12);
}

std::string IdThroughLink(const std::string& config_path) {
  std::error_code error;
  if (!fs::is_symlink(config_path, error)) return "";
  const fs::path target = fs::weakly_canonical(config_path, error);
  return error ? "" : NewMachineId(target);
}

std::string Sha256Hex(const std::string& bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  return absl::BytesToHexString(std::string(reinterpret_cast<char*>(digest), sizeof digest));
}

std::string StateDir() {
  return EnvironmentOr("RUM_STATE_DIR",
                       EnvironmentOr("XDG_STATE_HOME", Home() + "/.local/state") + "/rum");
}

std::string RuntimeDir() {
  const std::string runtime = EnvironmentOr("XDG_RUNTIME_DIR", "");
  return EnvironmentOr("RUM_RUNTIME_DIR", runtime.empty() ? StateDir() + "/run" : runtime + "/rum");
}

std::string CacheDir() {
  return EnvironmentOr("RUM_CACHE_DIR",
                       EnvironmentOr("XDG_CACHE_HOME", Home() + "/.cache") + "/rum");
}

std::string DataDir() {
  return EnvironmentOr("RUM_DATA_DIR",
                       EnvironmentOr("XDG_DATA_HOME", Home() + "/.local/share") + "/rum");
}

}  // namespace rum
