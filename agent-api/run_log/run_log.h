#ifndef RUM_AGENT_API_RUN_LOG_RUN_LOG_H_
#define RUM_AGENT_API_RUN_LOG_RUN_LOG_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rum {

// The output of one run on a disk, the same in the guest and on the host: files "output-OFFSET" of
// about 1 MiB in the run's folder, of which the newest are kept. An offset counts the bytes that
// the script wrote before, to both outputs, so that it means the same to every reader.
struct OutputPiece {
  uint64_t offset = 0;
  int64_t time_ms = 0;  // Unix time
  bool error = false;   // of standard error
  std::string bytes;
};

inline constexpr uint64_t kRunLogFile = 1024 * 1024;
inline constexpr int kMostRunLogFiles = 16;  // so that at least 15 MiB of a long output stay

// Appends; for one writer at a time.
class RunLogWriter {
 public:
  // Goes on where the log ends: half a piece of a writer that was killed is cut off.
  static absl::StatusOr<std::unique_ptr<RunLogWriter>> Open(const std::string& folder);
  ~RunLogWriter();
  RunLogWriter(const RunLogWriter&) = delete;
  RunLogWriter& operator=(const RunLogWriter&) = delete;

  // Bytes before end() are there already and left out; bytes that are missing between end() and the
  // piece stay missing. After an error (a full disk) the piece is missing as a whole.
  absl::Status Append(OutputPiece piece);
  uint64_t end() const { return end_; }
  absl::Status Sync();

 private:
  explicit RunLogWriter(const std::string& folder) : folder_(folder) {}
  absl::Status NextFile(uint64_t offset);

  const std::string folder_;
  int fd_ = -1;
  uint64_t file_size_ = 0;
  uint64_t file_end_ = 0;  // the offset where the open file's pieces end
  uint64_t end_ = 0;
};

// Reads a log from an offset on, also while it is written.
class RunLogReader {
 public:
  RunLogReader(std::string folder, uint64_t offset) : folder_(std::move(folder)), offset_(offset) {}
  ~RunLogReader();
  RunLogReader(const RunLogReader&) = delete;
  RunLogReader& operator=(const RunLogReader&) = delete;

  // The next piece; false: there is none yet. A piece that begins later than the one before ended
  // follows bytes that were not kept.
  bool Next(OutputPiece* piece);
  uint64_t offset() const { return offset_; }

 private:
  bool OpenFile();
  bool ReadPiece(OutputPiece* piece);

  const std::string folder_;
  uint64_t offset_;  // of the next piece
  int fd_ = -1;
  uint64_t file_start_ = 0;
  uint64_t position_ = 0;  // in the file
  uint64_t at_ = 0;        // the offset at `position_`
};

}  // namespace rum

#endif  // RUM_AGENT_API_RUN_LOG_RUN_LOG_H_
