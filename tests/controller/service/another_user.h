#ifndef RUM_TESTS_CONTROLLER_SERVICE_ANOTHER_USER_H_
#define RUM_TESTS_CONTROLLER_SERVICE_ANOTHER_USER_H_

#include <sys/types.h>
#include <sys/un.h>

#include <functional>
#include <string>

namespace rum {

inline constexpr uid_t kNobody = 65534;

sockaddr_un AddressOf(const std::string& path);
// Connected; -1: not.
int ConnectTo(const std::string& path, int type = 1 /* SOCK_STREAM */);

// The exit status of a process of another user that runs `body`; -1: there is none.
int RunAsNobody(const std::function<int()>& body);

// A process of another user that listens on `path`, a socket whose file is ours: what one can get
// who was given a descriptor, or had the path before us.
class NobodyListens {
 public:
  explicit NobodyListens(const std::string& path, int type = 1 /* SOCK_STREAM */);
  ~NobodyListens();  // ends it
  NobodyListens(const NobodyListens&) = delete;
  NobodyListens& operator=(const NobodyListens&) = delete;

  // Waits for one who connects and goes again. What he said.
  std::string HeardBeforeTheEnd();

 private:
  pid_t pid_ = -1;
  int heard_ = -1;
};

}  // namespace rum

#endif  // RUM_TESTS_CONTROLLER_SERVICE_ANOTHER_USER_H_
