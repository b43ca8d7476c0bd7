#include "controller/listeners/inherited.h"

#include <fcntl.h>

#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace rum {
namespace {

struct Pool {
  std::mutex mutex;
  std::map<std::string, Fd> by_address;
};

Pool& ThePool() {
  static auto* const pool = new Pool;
  return *pool;
}

std::string AddressOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  return {reinterpret_cast<const char*>(&address), size};
}

bool Listens(int fd) {
  int listens = 0;
  socklen_t size = sizeof listens;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0;
}

}  // namespace

void Inherit(std::vector<Fd> sockets) {
  Pool& pool = ThePool();
  const std::lock_guard<std::mutex> lock(pool.mutex);
  for (Fd& socket : sockets) {
    if (!Listens(socket.get())) continue;
    fcntl(socket.get(), F_SETFD, FD_CLOEXEC);
    fcntl(socket.get(), F_SETFL, fcntl(socket.get(), F_GETFL) | O_NONBLOCK);
    const std::string address = AddressOf(socket.get());
    pool.by_address.insert_or_assign(address, std::move(socket));
  }
}

Fd TakeInherited(const sockaddr* address, socklen_t size) {
  Pool& pool = ThePool();
  const std::lock_guard<std::mutex> lock(pool.mutex);
  auto found = pool.by_address.find({reinterpret_cast<const char*>(address), size});
  if (found == pool.by_address.end()) return {};
  Fd taken = std::move(found->second);
  pool.by_address.erase(found);
  return taken;
}

std::vector<Fd> TakeInherited() {
  Pool& pool = ThePool();
  const std::lock_guard<std::mutex> lock(pool.mutex);
  std::vector<Fd> all;
  for (auto& [address, socket] : std::exchange(pool.by_address, {}))
    all.push_back(std::move(socket));
  return all;
}

}  // namespace rum
