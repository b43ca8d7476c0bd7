#include "tests/controller/service/another_user.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rum {
namespace {

bool BecomeNobody() {
  return setresgid(kNobody, kNobody, kNobody) == 0 && setresuid(kNobody, kNobody, kNobody) == 0;
}

// Tells `heard` each byte of the first who connects.
[[noreturn]] void Listen(int listening, int heard) {
  if (!BecomeNobody() || listen(listening, 8) != 0) _exit(1);  // by whom it is listened on counts
  char byte = '!';
  if (write(heard, &byte, 1) != 1) _exit(1);
  const int client = accept(listening, nullptr, nullptr);
  while (read(client, &byte, 1) == 1) {
    if (write(heard, &byte, 1) != 1) break;
  }
  close(heard);
  for (;;) pause();
}

}  // namespace

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

int ConnectTo(const std::string& path, int type) {
  const sockaddr_un address = AddressOf(path);
  const int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

int RunAsNobody(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(BecomeNobody() ? body() : 99);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

NobodyListens::NobodyListens(const std::string& path, int type) {
  const sockaddr_un address = AddressOf(path);
  const int listening = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  EXPECT_EQ(bind(listening, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  int told[2];
  EXPECT_EQ(pipe2(told, O_CLOEXEC), 0);
  pid_ = fork();
  if (pid_ == 0) {
    close(told[0]);
    Listen(listening, told[1]);
  }
  close(listening);
  close(told[1]);
  heard_ = told[0];
  char byte = 0;
  EXPECT_EQ(read(heard_, &byte, 1), 1) << "only root can be somebody else";
}

NobodyListens::~NobodyListens() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  close(heard_);
}

std::string NobodyListens::HeardBeforeTheEnd() {
  std::string heard;
  char byte = 0;
  while (read(heard_, &byte, 1) == 1) heard.push_back(byte);
  return heard;
}

}  // namespace rum
