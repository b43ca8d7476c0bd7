// The one-shot calls of libcrypto that replace these drag half of it into a static program.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "agent-api/guest/staged_program.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "agent-api/build_id.h"
#include "agent-api/guest/spawn.h"

namespace rum::guest {

struct StagedProgram::Sum {
  SHA256_CTX context;
};

StagedProgram::StagedProgram(std::string path)
    : path_(std::move(path)), staged_(path_ + ".new"), sum_(std::make_unique<Sum>()) {
  SHA256_Init(&sum_->context);
}

StagedProgram::~StagedProgram() {
  if (file_.ok()) unlink(staged_.c_str());
}

absl::Status StagedProgram::Failed(const char* what) const {
  return absl::FailedPreconditionError(
      absl::StrCat(what, " ", staged_, ": ", std::strerror(errno)));
}

absl::Status StagedProgram::Take(const agent::UpgradeChunk& chunk) {
  if (!file_.ok()) {
    build_id_ = chunk.build_id();
    sha256_ = chunk.sha256();
    unlink(staged_.c_str());  // of an upgrade that broke off
    file_ = OwnedFd(open(staged_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755));
    if (!file_.ok() || fchmod(file_.get(), 0755) != 0) return Failed("make");
  }
  const std::string& data = chunk.data();
  SHA256_Update(&sum_->context, data.data(), data.size());
  for (size_t done = 0; done < data.size();) {
    const ssize_t n = write(file_.get(), data.data() + done, data.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Failed("write");
    done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::Status StagedProgram::Check() {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256_Final(reinterpret_cast<unsigned char*>(digest.data()), &sum_->context);
  if (absl::BytesToHexString(digest) != sha256_)
    return absl::DataLossError("the program did not arrive as it was sent");
  if (BuildIdOf(staged_) != build_id_)
    return absl::InvalidArgumentError("the program is not of the build that was announced");
  SpawnRequest spawn;
  spawn.argv = {staged_, "--version"};
  const auto child = Spawn(spawn);
  if (!child.ok()) return child.status();
  if (Reap(*child).well()) return absl::OkStatus();
  return absl::FailedPreconditionError("the program does not run in this guest");
}

absl::Status StagedProgram::Replace() {
  if (!file_.ok()) return absl::InvalidArgumentError("there is no program");
  if (fsync(file_.get()) != 0) return Failed("sync");
  {
    // Nothing between fork and exec has it open for writing (ETXTBSY) from now on.
    const std::lock_guard<std::mutex> guard(SpawnMutex());
    close(file_.Release());
  }
  absl::Status status = Check();
  if (status.ok() && rename(staged_.c_str(), path_.c_str()) != 0) status = Failed("rename");
  if (!status.ok()) {
    unlink(staged_.c_str());
    return status;
  }
  const OwnedFd folder(
      open(path_.substr(0, path_.rfind('/') + 1).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.ok() && fsync(folder.get()) != 0) return Failed("sync the folder of");
  return absl::OkStatus();
}

}  // namespace rum::guest
