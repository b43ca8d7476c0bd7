#include "controller/images/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "controller/base/fd.h"
#include "controller/images/durable_file.h"
#include "state/file.h"

namespace rum {
namespace {

constexpr size_t kReadBlock = 1 << 18;  // bytes
constexpr size_t kHole = 1 << 16;       // bytes; a run of zeros this long is not written

using Reader = std::unique_ptr<archive, decltype(&archive_read_free)>;

std::string Why(archive* reader) {
  const char* text = archive_error_string(reader);
  return text != nullptr ? text : "unknown error";
}

absl::Status Damaged(archive* reader, const std::string& name) {
  const std::string text = absl::StrCat(name, " cannot be unpacked: ", Why(reader));
  return archive_errno(reader) == EIO ? absl::UnavailableError(text)
                                      : absl::InvalidArgumentError(text);
}

absl::StatusOr<Reader> OpenReader(int fd, const std::string& path) {
  Reader reader(archive_read_new(), archive_read_free);
  if (!reader) return absl::InternalError("libarchive does not start");
  // Those that are known by a magic number and that libarchive reads by itself, without a program.
  archive_read_support_filter_bzip2(reader.get());
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_filter_xz(reader.get());
  archive_read_support_filter_zstd(reader.get());
  archive_read_support_format_raw(reader.get());
  archive_read_support_format_empty(reader.get());
  if (archive_read_open_fd(reader.get(), fd, kReadBlock) != ARCHIVE_OK) {
    return Damaged(reader.get(), path);  // it began like a packed one
  }
  return reader;
}

absl::Status WriteWithHoles(int fd, int64_t offset, std::string_view bytes,
                            const std::string& path) {
  static const std::string zeros(kHole, 0);
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, kHole);
    if (piece != std::string_view(zeros).substr(0, piece.size())) {
      if (absl::Status status = WriteAt(fd, offset, piece, path); !status.ok()) return status;
    }
    offset += static_cast<int64_t>(piece.size());
    bytes.remove_prefix(piece.size());
  }
  return absl::OkStatus();
}

absl::Status CopyOut(archive* reader, int to, const std::string& path, const std::string& name,
                     int64_t packed_size, Progress* progress) {
  archive_entry* entry = nullptr;
  const int header = archive_read_next_header(reader, &entry);
  if (header != ARCHIVE_OK && header != ARCHIVE_EOF) return Damaged(reader, name);
  int64_t end = 0;
  while (header == ARCHIVE_OK) {
    const void* block = nullptr;
    size_t size = 0;
    la_int64_t offset = 0;
    const int result = archive_read_data_block(reader, &block, &size, &offset);
    if (result == ARCHIVE_EOF) break;
    if (result != ARCHIVE_OK) return Damaged(reader, name);
    const std::string_view bytes(static_cast<const char*>(block), size);
    if (absl::Status status = WriteWithHoles(to, offset, bytes, path); !status.ok()) return status;
    end = offset + static_cast<int64_t>(size);
    if (absl::Status status = progress->GoOn(); !status.ok()) return status;
    if (progress->Due() && packed_size > 0) {
      progress->Update(absl::StrCat("unpacking ", name, ": ",
                                    archive_filter_bytes(reader, -1) * 100 / packed_size, " %"));
    }
  }
  if (ftruncate(to, end) != 0 || fsync(to) != 0) return DiskError(errno, path);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> IsCompressed(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return absl::ErrnoToStatus(errno, path);
  const absl::StatusOr<Reader> reader = OpenReader(fd.get(), path);
  if (!reader.ok()) return reader.status();
  return archive_filter_count(reader->get()) > 1;  // the file itself is one
}

absl::Status Unpack(const std::string& from, const std::string& to, const std::string& name,
                    Progress* progress) {
  const Fd source(open(from.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat file;
  if (!source.ok() || fstat(source.get(), &file) != 0) return absl::ErrnoToStatus(errno, from);
  const Fd target(open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!target.ok()) return DiskError(errno, to);
  const absl::StatusOr<Reader> reader = OpenReader(source.get(), from);
  if (!reader.ok()) return reader.status();
  return CopyOut(reader->get(), target.get(), to, name, file.st_size, progress);
}

}  // namespace rum
