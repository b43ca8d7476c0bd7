#include "tests/controller/images/http_server.h"

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <condition_variable>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace rum {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;

}  // namespace

struct HttpServer::State {
  State() : acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0)) {}

  asio::io_context io;
  tcp::acceptor acceptor;
  std::unique_ptr<asio::ssl::context> tls;
  Site site;
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::vector<Asked> log;
  bool stalls = true;
  bool closing = false;
  std::vector<std::thread> connections;

  template <typename Stream>
  void Serve(Stream& stream, tcp::socket& socket);
  template <typename Stream>
  void Answer(Stream& stream, tcp::socket& socket, size_t number, const Asked& asked,
              Served served);
  void Accept();
};

namespace {

// What a right server makes of the conditions and ranges of RFC 9110.
struct Answered {
  int status = 200;
  uint64_t first = 0;  // of the body
  std::string content_range;
};

bool NotModified(const Asked& asked, const Served& served) {
  const std::string etag = asked.header("if-none-match"), since = asked.header("if-modified-since");
  if (!etag.empty()) return etag == served.etag;
  return !since.empty() && since == served.last_modified;
}

bool WantsRange(const Asked& asked, const Served& served, uint64_t* first) {
  const std::string range = asked.header("range"), if_range = asked.header("if-range");
  if (range.empty() || served.ignores_ranges) return false;
  if (!if_range.empty() && if_range != served.etag && if_range != served.last_modified)
    return false;
  return range.rfind("bytes=", 0) == 0 &&
         absl::SimpleAtoi(range.substr(6, range.size() - 7), first);  // "bytes=N-" alone
}

Answered AnswerTo(const Asked& asked, const Served& served) {
  Answered answered;
  answered.status = served.status;
  if (served.status != 200) return answered;
  if (NotModified(asked, served)) {
    answered.status = 304;
    return answered;
  }
  uint64_t first = 0;
  const bool ranged = WantsRange(asked, served, &first);
  if (ranged && (first >= served.body.size() || served.refuses_ranges)) {
    answered.status = 416;
    answered.content_range = absl::StrCat("bytes */", served.body.size());
  } else if (ranged || served.always_partial) {
    answered.status = 206;
    answered.first = first;
    answered.content_range =
        absl::StrCat("bytes ", first, "-", served.body.size() - 1, "/", served.body.size());
  }
  if (answered.status == 206 && !served.content_range.empty()) {
    answered.content_range = served.content_range;
  }
  return answered;
}

}  // namespace

template <typename Stream>
void HttpServer::State::Answer(Stream& stream, tcp::socket& socket, size_t number,
                               const Asked& asked, Served served) {
  const Answered answered = AnswerTo(asked, served);
  const bool has_body = answered.status != 304 && answered.status != 416;
  const std::string body = has_body ? served.body.substr(answered.first) : "";
  http::response<http::empty_body> response;
  response.result(static_cast<unsigned>(answered.status));
  response.set(http::field::date, "Tue, 24 Nov 2026 12:00:00 GMT");
  response.set(http::field::connection, "close");
  const std::string etag = served.said_etag.empty() ? served.etag : served.said_etag;
  if (!etag.empty()) response.set(http::field::etag, etag);
  if (!served.last_modified.empty()) response.set(http::field::last_modified, served.last_modified);
  if (!served.location.empty()) response.set(http::field::location, served.location);
  if (!answered.content_range.empty()) {
    response.set(http::field::content_range, answered.content_range);
  }
  if (served.chunked) {
    response.set(http::field::transfer_encoding, "chunked");
  } else if (served.content_length != "none" && answered.status != 304) {
    response.set(http::field::content_length, served.content_length.empty()
                                                  ? std::to_string(body.size())
                                                  : served.content_length);
  }
  http::response_serializer<http::empty_body> serializer(response);
  error_code error;
  {
    const std::lock_guard<std::mutex> guard(mutex);
    log[number].status = answered.status;
  }
  http::write_header(stream, serializer, error);
  constexpr size_t kBlock = 4096;
  for (size_t done = 0; done < body.size() && !error;) {
    size_t size = std::min(kBlock, body.size() - done);
    if (served.stall_after >= 0) {
      std::unique_lock<std::mutex> guard(mutex);
      const size_t stall = static_cast<size_t>(served.stall_after);
      if (done >= stall) changed.wait(guard, [this] { return !stalls || closing; });
      if (closing) break;
      if (done < stall) size = std::min(size, stall - done);
    }
    if (served.cut_after >= 0) {
      size = std::min(size, static_cast<size_t>(served.cut_after) - done);
      if (size == 0) break;
    }
    std::string bytes = body.substr(done, size);
    if (served.chunked) bytes = absl::StrCat(absl::Hex(size), "\r\n", bytes, "\r\n");
    asio::write(stream, asio::buffer(bytes), error);
    if (error) break;
    done += size;
    const std::lock_guard<std::mutex> guard(mutex);
    log[number].sent += size;
  }
  const std::lock_guard<std::mutex> guard(mutex);
  if (served.chunked && log[number].sent == body.size()) {
    asio::write(stream, asio::buffer(std::string("0\r\n\r\n")), error);
  }
}

template <typename Stream>
void HttpServer::State::Serve(Stream& stream, tcp::socket& socket) {
  boost::beast::flat_buffer buffer;
  http::request<http::empty_body> request;
  error_code error;
  http::read(stream, buffer, request, error);
  if (error) return;
  Asked asked;
  asked.target = std::string(request.target());
  for (const auto& field : request) {
    asked.headers[absl::AsciiStrToLower(std::string(field.name_string()))] =
        std::string(field.value());
  }
  size_t number = 0;
  {
    const std::lock_guard<std::mutex> guard(mutex);
    number = log.size();
    log.push_back(asked);
  }
  Answer(stream, socket, number, asked, site(asked, static_cast<int>(number)));
}

void HttpServer::State::Accept() {
  while (true) {
    auto socket = std::make_shared<tcp::socket>(io);
    error_code error;
    acceptor.accept(*socket, error);
    const std::lock_guard<std::mutex> guard(mutex);
    if (closing) return;
    if (error) continue;
    connections.emplace_back([this, socket] {
      error_code ignored;
      if (tls) {
        asio::ssl::stream<tcp::socket&> stream(*socket, *tls);
        if (stream.handshake(asio::ssl::stream_base::server, ignored); !ignored)
          Serve(stream, *socket);
      } else {
        Serve(*socket, *socket);
      }
      socket->shutdown(tcp::socket::shutdown_both, ignored);
      socket->close(ignored);
    });
  }
}

HttpServer::HttpServer(Site site, const std::string& certificate, const std::string& key)
    : state_(std::make_shared<State>()) {
  state_->site = std::move(site);
  if (!certificate.empty()) {
    state_->tls = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
    state_->tls->use_certificate(asio::buffer(certificate), asio::ssl::context::pem);
    state_->tls->use_private_key(asio::buffer(key), asio::ssl::context::pem);
  }
  acceptor_ = std::thread([state = state_] { state->Accept(); });
}

HttpServer::~HttpServer() {
  std::vector<std::thread> connections;
  {
    const std::lock_guard<std::mutex> guard(state_->mutex);
    state_->closing = true;
    connections.swap(state_->connections);
  }
  state_->changed.notify_all();
  error_code error;
  tcp::socket(state_->io).connect(state_->acceptor.local_endpoint(), error);  // wakes accept()
  acceptor_.join();
  for (std::thread& connection : connections) connection.join();
}

std::string HttpServer::Url(const std::string& target) const {
  return absl::StrCat(state_->tls ? "https" : "http",
                      "://127.0.0.1:", state_->acceptor.local_endpoint().port(), target);
}

std::vector<Asked> HttpServer::log() const {
  const std::lock_guard<std::mutex> guard(state_->mutex);
  return state_->log;
}

std::vector<Asked> HttpServer::log(const std::string& target) const {
  std::vector<Asked> of_target = log();
  of_target.erase(std::remove_if(of_target.begin(), of_target.end(),
                                 [&](const Asked& asked) { return asked.target != target; }),
                  of_target.end());
  return of_target;
}

uint64_t HttpServer::sent() const {
  uint64_t sum = 0;
  for (const Asked& asked : log()) sum += asked.sent;
  return sum;
}

void HttpServer::EndStalls() {
  {
    const std::lock_guard<std::mutex> guard(state_->mutex);
    state_->stalls = false;
  }
  state_->changed.notify_all();
}

}  // namespace rum
