#ifndef RUM_AGENT_API_DESCRIPTORS_H_
#define RUM_AGENT_API_DESCRIPTORS_H_

#include <cstddef>
#include <vector>

// What to do where descriptors run out: a connection that cannot be accepted stays in its socket's
// queue, so that whoever waits for it is told nothing, and the socket is readable all the time.
namespace rum {

// EMFILE or ENFILE: this process, or the system, has no descriptor left.
bool IsOutOfDescriptors(int error);

// How many this process may have open at a time.
size_t DescriptorLimit();

// Whether only `kept` descriptors or fewer are left, by one that was opened just now: the kernel
// gives the lowest number that is free.
bool IsAmongLast(int fd, size_t kept);

// Descriptors that stand for nothing, so that there is something to give up. Not thread-safe.
class SpareDescriptors {
 public:
  explicit SpareDescriptors(size_t count);
  ~SpareDescriptors();
  SpareDescriptors(const SpareDescriptors&) = delete;
  SpareDescriptors& operator=(const SpareDescriptors&) = delete;

  // accept4(2), close-on-exec and non-blocking, at the cost of all spares; -1 with errno: not even
  // so. The caller owns the socket, and Refills when it is closed.
  int Accept(int listening);
  // Closes them: somebody else needs them.
  void GiveUp();
  // Opens as many as there are to be had.
  void Refill();

 private:
  const size_t count_;
  std::vector<int> spares_;
};

}  // namespace rum

#endif  // RUM_AGENT_API_DESCRIPTORS_H_
