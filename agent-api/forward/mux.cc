#include "agent-api/forward/mux.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <string>
#include <string_view>

namespace rum {
namespace {

// Larger frames gain nothing more; smaller ones cost guest CPU, which is what an emulated guest
// lacks.
constexpr uint32_t kFrame = 32 * 1024;
constexpr uint32_t kManyStreams = 1 << 20;
constexpr size_t kHttp2Window = 65535;

nghttp2_nv Header(std::string_view name, std::string_view value) {
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

uint32_t Number(const uint8_t* text, size_t size) {
  uint32_t number = 0;
  const char* begin = reinterpret_cast<const char*>(text);
  std::from_chars(begin, begin + size, number);
  return number;
}

}  // namespace

struct Mux::Callbacks {
  static Mux& Of(void* user) { return *static_cast<Mux*>(user); }

  static ssize_t Take(nghttp2_session*, int32_t id, uint8_t* buffer, size_t size, uint32_t* flags,
                      nghttp2_data_source*, void* user) {
    Entry* entry = Of(user).Find(id);
    if (entry == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    const int64_t taken = entry->stream->Take(reinterpret_cast<char*>(buffer), size);
    if (taken == Stream::kNothingNow) return NGHTTP2_ERR_DEFERRED;
    if (taken == Stream::kBroken) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (taken == Stream::kEnd) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(std::max<int64_t>(taken, 0));
  }

  // Without it the library never makes a frame of more than 16 KiB.
  static ssize_t FrameSize(nghttp2_session*, uint8_t, int32_t, int32_t session_window,
                           int32_t stream_window, uint32_t most, void*) {
    return std::min({session_window, stream_window, static_cast<int32_t>(std::min(most, kFrame))});
  }

  static int BeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    // A promise of a stream is a frame without a category, and names a stream that is there or not.
    Mux& mux = Of(user);
    const bool opens = mux.side_ == Side::kGuest && frame->hd.type == NGHTTP2_HEADERS &&
                       frame->headers.cat == NGHTTP2_HCAT_REQUEST;
    if (opens) mux.streams_[frame->hd.stream_id];
    return 0;
  }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t size, uint8_t, void* user) {
    Entry* entry = Of(user).Find(frame->hd.stream_id);
    if (entry == nullptr) return 0;
    const std::string_view key(reinterpret_cast<const char*>(name), name_size);
    if (key == ":authority") entry->port = Number(value, size);
    if (key == ":status" && Number(value, size) != 200 && entry->error == 0) entry->error = EPROTO;
    if (key == "errno") entry->error = static_cast<int>(Number(value, size));
    return 0;
  }

  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    const bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_HEADERS) {
      Of(user).Heard(frame->hd.stream_id, ended);
    }
    Entry* entry = Of(user).Find(frame->hd.stream_id);
    if (ended && entry != nullptr) entry->stream->OnEnd();
    return 0;
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size,
                    void* user) {
    // The session's window never holds anything up: each stream's does.
    nghttp2_session_consume_connection(session, size);
    Entry* entry = Of(user).Find(id);
    if (entry == nullptr) return 0;
    entry->held += size;
    entry->since_growth += size;
    entry->stream->OnData(reinterpret_cast<const char*>(data), size);
    return 0;
  }

  static int OnClose(nghttp2_session*, int32_t id, uint32_t error, void* user) {
    Stream* stream = Of(user).Forget(id);
    if (stream != nullptr) stream->OnClose(error != NGHTTP2_NO_ERROR);
    return 0;
  }
};

Mux::Mux(Side side, OnOpen open)
    : side_(side),
      open_(std::move(open)),
      gate_(std::chrono::steady_clock::now,
            [this](const Http2Head& head) { return MaySay(head); }) {
  nghttp2_session_callbacks* calls = nullptr;
  nghttp2_session_callbacks_new(&calls);
  nghttp2_session_callbacks_set_data_source_read_length_callback(calls, Callbacks::FrameSize);
  nghttp2_session_callbacks_set_on_begin_headers_callback(calls, Callbacks::BeginHeaders);
  nghttp2_session_callbacks_set_on_header_callback(calls, Callbacks::OnHeader);
  nghttp2_session_callbacks_set_on_frame_recv_callback(calls, Callbacks::OnFrame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, Callbacks::OnData);
  nghttp2_session_callbacks_set_on_stream_close_callback(calls, Callbacks::OnClose);
  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_option_set_peer_max_concurrent_streams(option, kManyStreams);
  // The peer is ours: a thousand clients that go at once are no attack.
  nghttp2_option_set_stream_reset_rate_limit(option, UINT64_MAX, UINT64_MAX);
  const auto make = side == Side::kHost ? nghttp2_session_client_new2 : nghttp2_session_server_new2;
  make(&session_, calls, this, option);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(calls);
  const bool host = side == Side::kHost;
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, host ? 0 : kManyStreams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kFirstWindow},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, kFrame},
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
  // The last one is a client's to say.
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings,
                          std::size(settings) - (host ? 0 : 1));
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, INT32_MAX);
}

Mux::~Mux() { nghttp2_session_del(session_); }

Mux::Entry* Mux::Find(int32_t id) {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : &found->second;
}

int32_t Mux::Open(uint16_t port, Stream* stream, bool probe) {
  const std::string number = std::to_string(port);
  const nghttp2_nv headers[] = {Header(":method", "CONNECT"), Header(":authority", number)};
  nghttp2_data_provider data{};
  data.read_callback = Callbacks::Take;
  const int32_t id = nghttp2_submit_request(session_, nullptr, headers, std::size(headers),
                                            probe ? nullptr : &data, nullptr);
  if (id > 0) {
    Entry& entry = streams_[id];
    entry.stream = stream;
    entry.probe = probe;
    allowed_ += kFramesOfStream;
  }
  return id;
}

void Mux::Heard(int32_t id, bool ended) {
  Entry* entry = Find(id);
  if (entry == nullptr) return;
  if (side_ == Side::kHost) return entry->stream->OnAnswer(entry->error);
  if (entry->stream != nullptr) return;
  entry->probe = ended;
  const bool valid = entry->port >= 1 && entry->port <= 65535;
  Stream* stream = valid ? open_(id, static_cast<uint16_t>(entry->port), ended) : nullptr;
  if (stream == nullptr) return Reset(id);
  if (entry = Find(id); entry != nullptr) entry->stream = stream;
}

void Mux::Answer(int32_t id, int error) {
  if (error == 0) {
    const nghttp2_nv headers[] = {Header(":status", "200")};
    nghttp2_data_provider data{};
    data.read_callback = Callbacks::Take;
    nghttp2_submit_response(session_, id, headers, std::size(headers), &data);
    return;
  }
  const std::string number = std::to_string(error);
  const nghttp2_nv headers[] = {Header(":status", "502"), Header("errno", number)};
  nghttp2_submit_response(session_, id, headers, std::size(headers), nullptr);
}

void Mux::Resume(int32_t id) { nghttp2_session_resume_data(session_, id); }

void Mux::Consumed(int32_t id, size_t size) {
  Entry* entry = Find(id);
  if (entry == nullptr) return;
  entry->held -= std::min(size, entry->held);
  Grow(id, entry);
  nghttp2_session_consume_stream(session_, id, size);
}

// A window's worth has passed and nothing of it is left: the window was what held the sender up.
void Mux::Grow(int32_t id, Entry* entry) {
  if (entry->held > 0 || entry->since_growth < entry->window) return;
  const size_t more = std::min(entry->window, kMostWindow - entry->window);
  if (more == 0 || more > spare_window_) return;
  entry->since_growth = 0;
  if (nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, id,
                                            static_cast<int32_t>(entry->window + more)) == 0) {
    entry->window += more;
    spare_window_ -= more;
  }
}

Mux::Stream* Mux::Forget(int32_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return nullptr;
  Stream* stream = found->second.stream;
  spare_window_ += found->second.window - kFirstWindow;
  streams_.erase(found);
  return stream;
}

void Mux::Reset(int32_t id) {
  // Before it has heard of ours, the guest takes HTTP/2's own first window.
  if (const Entry* entry = Find(id)) stray_ += std::max(entry->window, kHttp2Window) + 1;
  Forget(id);
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_CONNECT_ERROR);
}

void Mux::Ping() {
  ++allowed_;
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
}

bool Mux::MaySay(const Http2Head& head) {
  const bool data = head.type == Http2Head::kData;
  if (data && Find(static_cast<int32_t>(head.stream)) == nullptr) {
    const size_t size = std::max<size_t>(head.size, 1);
    if (size > stray_) return false;
    stray_ -= size;
    return true;
  }
  const bool empty = head.size == 0 && (head.flags & Http2Head::kEndStream) == 0;
  if (data && !empty) return true;
  if (allowed_ == 0) return false;
  --allowed_;
  return true;
}

bool Mux::Feed(const char* data, size_t size) {
  if (side_ == Side::kHost && !gate_.Feed(data, size)) return false;
  const ssize_t taken =
      nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(data), size);
  return taken == static_cast<ssize_t>(size) && Alive();
}

bool Mux::Alive() const {
  return nghttp2_session_want_read(session_) != 0 || nghttp2_session_want_write(session_) != 0;
}

bool Mux::Produce(const std::function<bool(const char*, size_t)>& sink) {
  for (;;) {
    const uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &data);
    if (size < 0) return false;
    told_ += static_cast<size_t>(size);
    allowed_ += told_ / kBytesOfFrame;
    told_ %= kBytesOfFrame;
    if (size == 0) return Alive();
    if (!sink(reinterpret_cast<const char*>(data), static_cast<size_t>(size))) return true;
  }
}

}  // namespace rum
