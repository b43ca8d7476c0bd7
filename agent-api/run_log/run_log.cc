#include "agent-api/run_log/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace rum {
namespace {

constexpr char kPrefix[] = "output-";
// Of a piece: one byte (1: stdout, 2: stderr), four of its length, eight of its time (little
// endian), then the bytes.
constexpr size_t kHead = 13;
constexpr uint32_t kMostPiece = 1024 * 1024;
constexpr uint64_t kMostEnd = uint64_t{1} << 62;  // of a log: no sum of offsets runs over

std::string FileOf(const std::string& folder, uint64_t offset) {
  return absl::StrFormat("%s/%s%020d", folder, kPrefix, offset);
}

// The offsets at which the files of a log begin.
std::set<uint64_t> Files(const std::string& folder) {
  std::set<uint64_t> offsets;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename();
    uint64_t offset = 0;
    if (name.rfind(kPrefix, 0) == 0 && absl::SimpleAtoi(name.substr(sizeof kPrefix - 1), &offset)) {
      offsets.insert(offset);
    }
  }
  return offsets;
}

void PutNumber(uint64_t number, int bytes, std::string* to) {
  for (int i = 0; i < bytes; ++i) to->push_back(static_cast<char>(number >> (8 * i)));
}

uint64_t GetNumber(const unsigned char* from, int bytes) {
  uint64_t number = 0;
  for (int i = bytes; i-- > 0;) number = number << 8 | from[i];
  return number;
}

bool ReadAt(int fd, void* to, size_t size, uint64_t position) {
  for (size_t done = 0; done < size;) {
    const ssize_t n =
        pread(fd, static_cast<char*>(to) + done, size - done, static_cast<off_t>(position + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

// All of a piece but its bytes. False: no whole piece is there.
bool ReadHead(int fd, uint64_t position, OutputPiece* piece, uint32_t* size) {
  unsigned char head[kHead];
  if (!ReadAt(fd, head, sizeof head, position)) return false;
  *size = static_cast<uint32_t>(GetNumber(head + 1, 4));
  if (head[0] < 1 || head[0] > 2 || *size > kMostPiece) return false;  // not ours: the disk's
  piece->error = head[0] == 2;
  piece->time_ms = static_cast<int64_t>(GetNumber(head + 5, 8));
  char last = 0;
  return *size == 0 || ReadAt(fd, &last, 1, position + kHead + *size - 1);
}

absl::Status Failed(const std::string& what) {
  const std::string text = absl::StrCat(what, ": ", std::strerror(errno));
  return errno == ENOSPC || errno == EDQUOT ? absl::ResourceExhaustedError(text)
                                            : absl::InternalError(text);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RunLogWriter>> RunLogWriter::Open(const std::string& folder) {
  std::unique_ptr<RunLogWriter> writer(new RunLogWriter(folder));
  const std::set<uint64_t> files = Files(folder);
  if (files.empty()) return writer;
  const std::string path = FileOf(folder, *files.rbegin());
  writer->fd_ = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (writer->fd_ < 0) return Failed(absl::StrCat("open ", path));
  writer->end_ = *files.rbegin();
  OutputPiece piece;
  uint32_t size = 0;
  while (ReadHead(writer->fd_, writer->file_size_, &piece, &size)) {
    writer->file_size_ += kHead + size;
    writer->end_ += size;
  }
  writer->file_end_ = writer->end_;
  if (ftruncate(writer->fd_, static_cast<off_t>(writer->file_size_)) != 0) {
    return Failed(absl::StrCat("truncate ", path));
  }
  return writer;
}

RunLogWriter::~RunLogWriter() {
  if (fd_ >= 0) close(fd_);
}

absl::Status RunLogWriter::NextFile(uint64_t offset) {
  std::set<uint64_t> files = Files(folder_);
  while (files.size() >= kMostRunLogFiles) {
    unlink(FileOf(folder_, *files.begin()).c_str());
    files.erase(files.begin());
  }
  const std::string path = FileOf(folder_, offset);
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return Failed(absl::StrCat("create ", path));
  // What was written is on disk before it can be forgotten which files belong together.
  if (fd_ >= 0) fdatasync(fd_), close(fd_);
  fd_ = fd;
  file_size_ = 0;
  file_end_ = offset;
  return absl::OkStatus();
}

absl::Status RunLogWriter::Append(OutputPiece piece) {
  if (piece.bytes.empty()) return absl::OkStatus();
  if (piece.bytes.size() > kMostPiece || piece.offset > kMostEnd - piece.bytes.size()) {
    return absl::InvalidArgumentError("a piece of output that cannot be");
  }
  if (piece.offset + piece.bytes.size() <= end_) return absl::OkStatus();
  if (piece.offset < end_) {
    piece.bytes.erase(0, end_ - piece.offset);
    piece.offset = end_;
  }
  end_ = piece.offset + piece.bytes.size();
  if (fd_ < 0 || file_size_ >= kRunLogFile || file_end_ != piece.offset) {
    if (absl::Status status = NextFile(piece.offset); !status.ok()) return status;
  }
  std::string record(1, piece.error ? 2 : 1);
  PutNumber(piece.bytes.size(), 4, &record);
  PutNumber(static_cast<uint64_t>(piece.time_ms), 8, &record);
  record += piece.bytes;
  for (size_t done = 0; done < record.size();) {
    const ssize_t n = pwrite(fd_, record.data() + done, record.size() - done,
                             static_cast<off_t>(file_size_ + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const absl::Status status = Failed("write");
      // Half a piece would hide the next ones.
      if (ftruncate(fd_, static_cast<off_t>(file_size_)) != 0) close(fd_), fd_ = -1;
      return status;
    }
    done += static_cast<size_t>(n);
  }
  file_size_ += record.size();
  file_end_ = end_;
  return absl::OkStatus();
}

absl::Status RunLogWriter::Sync() {
  return fd_ < 0 || fsync(fd_) == 0 ? absl::OkStatus() : Failed("fsync");
}

RunLogReader::~RunLogReader() {
  if (fd_ >= 0) close(fd_);
}

bool RunLogReader::Next(OutputPiece* piece) {
  for (;;) {
    if (fd_ >= 0 && ReadPiece(piece)) return true;
    if (!OpenFile()) return false;
  }
}

// The file that goes on with `offset_`, or the first after it. False: there is none after the one
// that is open.
bool RunLogReader::OpenFile() {
  const std::set<uint64_t> files = Files(folder_);
  if (files.empty()) return false;
  std::set<uint64_t>::const_iterator next;
  if (fd_ >= 0) {
    next = files.upper_bound(file_start_);
    if (next == files.end()) return false;
    // Between our look and the listing the writer may have ended this file.
    OutputPiece piece;
    uint32_t size = 0;
    if (at_ < *next && ReadHead(fd_, position_, &piece, &size) && at_ + size <= *next) {
      return true;
    }
  } else {
    next = files.upper_bound(offset_);
    if (next != files.begin()) --next;
  }
  const int fd = open(FileOf(folder_, *next).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fd_ < 0 && errno == ENOENT && !Files(folder_).empty() && OpenFile();
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
  file_start_ = at_ = *next;
  position_ = 0;
  return true;
}

bool RunLogReader::ReadPiece(OutputPiece* piece) {
  uint32_t size = 0;
  while (ReadHead(fd_, position_, piece, &size)) {
    if (at_ + size > offset_ || size == 0) {
      piece->bytes.resize(size);
      if (!ReadAt(fd_, piece->bytes.data(), size, position_ + kHead)) return false;
    }
    position_ += kHead + size;
    at_ += size;
    if (at_ <= offset_ || size == 0) continue;
    piece->offset = at_ - size;
    if (piece->offset < offset_) {
      piece->bytes.erase(0, offset_ - piece->offset);
      piece->offset = offset_;
    }
    offset_ = at_;
    return true;
  }
  return false;
}

}  // namespace rum
