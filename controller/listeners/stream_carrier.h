#ifndef RUM_CONTROLLER_LISTENERS_STREAM_CARRIER_H_
#define RUM_CONTROLLER_LISTENERS_STREAM_CARRIER_H_

#include <atomic>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "controller/listeners/carrier.h"

namespace rum {

// How long a carrier by stream sockets waits, so that tests need not.
struct StreamCarrierTimes {
  std::chrono::milliseconds retry = std::chrono::milliseconds(50);  // of a connect that failed
  // Until the guest is asked again whether it serves this way.
  std::chrono::milliseconds first_check = std::chrono::milliseconds(100);
  std::chrono::milliseconds longest_check = std::chrono::seconds(10);
  std::chrono::milliseconds answer = std::chrono::seconds(10);  // to one question
};

// Gives `done`, once and on the io thread, a non-blocking socket that is being connected to the
// guest, which is the callee's, or -1 and an errno.
using StreamConnect = std::function<void(std::function<void(int socket, int error)> done)>;

// Carries each client over a stream socket of its own, to a StreamServer in the guest: by vsock,
// where host and guest have it. Whether the guest serves that is asked until it says so; as long as
// it has not, and always for clients that come meanwhile, `otherwise` carries. Nobody is asked, and
// nobody's answer counts, but who knows the secret of the agent's session. io thread only, but for
// making and closing it.
class StreamCarrier : public Carrier, public std::enable_shared_from_this<StreamCarrier> {
 public:
  // `secret` is that of stream_secret.h; empty: there is none now, so that the guest is not asked.
  StreamCarrier(StreamConnect connect, std::function<std::string()> secret,
                std::shared_ptr<Carrier> otherwise, StreamCarrierTimes times = {});
  ~StreamCarrier() override;

  void Start();  // begins to ask
  void Close();  // resets every connection; any thread
  bool serving() const { return serving_; }

  uint64_t Carry(Fd* client, uint16_t port, std::chrono::milliseconds patience,
                 CarryEvents events) override;
  void Abort(uint64_t connection, const std::string& why) override;
  bool Probe(uint16_t port, std::function<void(int error)> done) override;

 private:
  class Request;
  class Connection;

  void Ask();
  void AskLater();

  const StreamConnect connect_;
  const std::function<std::string()> secret_;
  const std::shared_ptr<Carrier> otherwise_;
  const StreamCarrierTimes times_;
  boost::asio::steady_timer check_;
  std::chrono::milliseconds next_check_;
  std::atomic<bool> serving_ = false;
  bool closed_ = false;
  uint64_t last_ = 0;
  std::map<uint64_t, std::shared_ptr<Connection>> connections_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_LISTENERS_STREAM_CARRIER_H_
