#ifndef RUM_CLI_PASSED_SIGNALS_H_
#define RUM_CLI_PASSED_SIGNALS_H_

#include <initializer_list>
#include <thread>

namespace rum {

// Takes these signals from the process, to be read from the descriptor that it returns. To be
// called before gRPC makes threads: those would still get them.
int HoldSignals(std::initializer_list<int> signals);

// Ends the process by the first of `signals`, a descriptor as above, that comes while it lives:
// what they go to later is not there yet.
class EarlySignals {
 public:
  explicit EarlySignals(int signals);
  ~EarlySignals();
  EarlySignals(const EarlySignals&) = delete;
  EarlySignals& operator=(const EarlySignals&) = delete;

 private:
  const int stop_;
  std::thread thread_;
};

}  // namespace rum

#endif  // RUM_CLI_PASSED_SIGNALS_H_
