#ifndef RUM_CONTROLLER_GUESTS_CALL_STREAM_H_
#define RUM_CONTROLLER_GUESTS_CALL_STREAM_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>

namespace rum {

// One end of a call's stream between the controller and a guest's process: so much may be under way
// each way that neither's memory grows, whoever is slow. Thread-safe; one thread sends and one
// takes.
class CallStream {
 public:
  static constexpr size_t kWindow = 512 << 10;
  // What a message costs beside its bytes.
  static constexpr size_t kEach = 64;

  // Waits until a message may be sent, and counts it; false: the stream is over.
  bool MaySend(size_t bytes);
  // The other end took so much.
  void Grow(uint64_t bytes);

  // A message came. False: more than may be under way.
  bool Came(std::string message);
  // Nothing more will come: what came before is still taken.
  void ComesToEnd();
  // Waits for a message; false: the end. `*taken`: if not 0, what the other end is to be told of.
  bool Take(std::string* message, uint64_t* taken);

  // Nothing that is sent gets there any more.
  void StopSending();
  // Over, at once, both ways.
  void Break();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t room_ = kWindow;
  std::deque<std::string> came_;
  size_t under_way_ = 0;  // that came and the other end was not told to be taken
  size_t taken_ = 0;      // of that, what is taken
  bool at_end_ = false;
  bool stopped_ = false;  // nothing more may be sent
  bool broken_ = false;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_GUESTS_CALL_STREAM_H_
