#ifndef RUM_TESTS_CONTROLLER_IMAGES_HTTP_SERVER_H_
#define RUM_TESTS_CONTROLLER_IMAGES_HTTP_SERVER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace rum {

// What a client asked for, and what it was sent.
struct Asked {
  std::string target;
  std::map<std::string, std::string> headers;  // names in lower case
  int status = 0;
  uint64_t sent = 0;  // bytes of the body

  std::string header(const std::string& name) const {
    const auto it = headers.find(name);
    return it == headers.end() ? "" : it->second;
  }
};

// A file as a correct server serves it, and the faults of one that is not.
struct Served {
  int status = 200;
  std::string body = {};
  std::string etag = {};           // empty: none
  std::string last_modified = {};  // empty: none
  std::string location = {};       // of a redirect

  std::string said_etag = {};       // instead of the right one
  int64_t cut_after = -1;           // bytes of the body; then the connection is closed
  int64_t stall_after = -1;         // then nothing comes, until the server is told or destroyed
  bool ignores_ranges = false;      // 200 to a range
  bool always_partial = false;      // 206 without having been asked
  std::string content_range = {};   // instead of the right one
  std::string content_length = {};  // instead of the right one; "none": not said
  bool chunked = false;             // instead of a length
  bool refuses_ranges = false;      // 416
};

// An HTTP/1.1 server on 127.0.0.1 with one request a connection; one thread each.
class HttpServer {
 public:
  // Called for each request, on the connection's thread. `number`: from 0.
  using Site = std::function<Served(const Asked& asked, int number)>;
  // With certificate and key (PEM): https.
  explicit HttpServer(Site site, const std::string& certificate = "", const std::string& key = "");
  ~HttpServer();

  std::string Url(const std::string& target) const;
  std::vector<Asked> log() const;  // finished and unfinished requests, in their order
  // Requests of that path alone.
  std::vector<Asked> log(const std::string& target) const;
  uint64_t sent() const;
  void EndStalls();  // stalled replies go on

 private:
  struct State;
  std::shared_ptr<State> state_;
  std::thread acceptor_;
};

}  // namespace rum

#endif  // RUM_TESTS_CONTROLLER_IMAGES_HTTP_SERVER_H_
