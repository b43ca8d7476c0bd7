#include "controller/listeners/port_owner.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

constexpr AddressBytes kAnyV6{};
constexpr AddressBytes kAnyV4{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0};

template <typename Number>
bool ReadNumber(const std::string& text, int base, Number* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number, base);
  return error == std::errc() && end == text.data() + text.size();
}

// "0100007F": words of 32 bits, each printed as a number of this machine.
bool ReadHexAddress(const std::string& text, AddressBytes* address) {
  if (text.size() != 8 && text.size() != 32) return false;
  *address = text.size() == 8 ? kAnyV4 : kAnyV6;
  size_t at = text.size() == 8 ? 12 : 0;
  for (size_t i = 0; i < text.size(); i += 8, at += 4) {
    uint32_t word = 0;
    if (!ReadNumber(text.substr(i, 8), 16, &word)) return false;
    std::memcpy(address->data() + at, &word, sizeof word);
  }
  return true;
}

// 0: no conflict; higher is nearer.
int Nearness(const AddressBytes& held, const AddressBytes& wanted) {
  if (held == wanted) return 3;
  const AddressBytes& any = IsV4(wanted) ? kAnyV4 : kAnyV6;
  if (IsV4(held) == IsV4(wanted) && (held == any || wanted == any)) return 2;
  // A socket on :: takes IPv4 as well, unless it asked not to; the table does not tell.
  return held == kAnyV6 ? 1 : 0;
}

std::string ReadFile(const fs::path& path) {
  std::ostringstream text;
  if (std::ifstream file(path); file) text << file.rdbuf();
  return text.str();
}

bool Holds(const fs::path& process, const std::string& socket) {
  std::error_code error;
  for (fs::directory_iterator fd(process / "fd", error), end; !error && fd != end;
       fd.increment(error)) {
    std::error_code closed_meanwhile;
    if (fs::read_symlink(fd->path(), closed_meanwhile) == socket) return true;
  }
  return false;
}

std::vector<int> ProcessIds(const fs::path& proc) {
  std::vector<int> ids;
  std::error_code error;
  for (fs::directory_iterator entry(proc, error), end; !error && entry != end;
       entry.increment(error)) {
    int id = 0;
    if (ReadNumber(entry->path().filename().string(), 10, &id)) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());  // of a server and its workers, the server
  return ids;
}

}  // namespace

bool IsV4(const AddressBytes& address) {
  return std::equal(kAnyV4.begin(), kAnyV4.begin() + 12, address.begin());
}

std::optional<AddressBytes> ParseAddress(const std::string& literal) {
  AddressBytes address = kAnyV4;
  if (inet_pton(AF_INET, literal.c_str(), address.data() + 12) == 1) return address;
  if (inet_pton(AF_INET6, literal.c_str(), address.data()) == 1) return address;
  return std::nullopt;
}

std::vector<ListeningSocket> ParseListening(const std::string& table) {
  std::vector<ListeningSocket> sockets;
  std::istringstream lines(table);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
    words >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >>
        inode;
    const size_t colon = local.rfind(':');
    ListeningSocket socket;
    if (state == "0A" && colon != std::string::npos &&
        ReadHexAddress(local.substr(0, colon), &socket.address) &&
        ReadNumber(local.substr(colon + 1), 16, &socket.port) && ReadNumber(uid, 10, &socket.uid) &&
        ReadNumber(inode, 10, &socket.inode)) {
      sockets.push_back(socket);
    }
  }
  return sockets;
}

std::optional<ListeningSocket> FindBlocker(const std::vector<ListeningSocket>& sockets,
                                           const AddressBytes& address, uint16_t port) {
  std::optional<ListeningSocket> nearest;
  int best = 0;
  for (const ListeningSocket& socket : sockets) {
    const int nearness = socket.port == port ? Nearness(socket.address, address) : 0;
    if (nearness > best) best = nearness, nearest = socket;
  }
  return nearest;
}

std::string PortOwner(const std::string& bind, uint16_t port, const std::string& proc) {
  const auto address = ParseAddress(bind);
  if (!address) return "";
  const fs::path root(proc);
  std::vector<ListeningSocket> sockets = ParseListening(ReadFile(root / "net/tcp"));
  const auto more = ParseListening(ReadFile(root / "net/tcp6"));
  sockets.insert(sockets.end(), more.begin(), more.end());
  const auto blocker = FindBlocker(sockets, *address, port);
  if (!blocker) return "";
  const std::string link = absl::StrCat("socket:[", blocker->inode, "]");
  for (const int id : ProcessIds(root)) {
    const fs::path process = root / std::to_string(id);
    if (!Holds(process, link)) continue;
    std::string name = ReadFile(process / "comm");
    while (!name.empty() && name.back() == '\n') name.pop_back();
    return absl::StrCat(name, " (pid ", id, ")");
  }
  return absl::StrCat("a process of uid ", blocker->uid);
}

}  // namespace rum
