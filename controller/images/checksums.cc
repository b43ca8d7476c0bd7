#include "controller/images/checksums.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "controller/base/fd.h"

namespace rum {
namespace {

class Digest {
 public:
  explicit Digest(const EVP_MD* kind) : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    ok_ = context_ && EVP_DigestInit_ex(context_.get(), kind, nullptr) == 1;
  }
  void Add(const char* bytes, size_t size) {
    ok_ = ok_ && EVP_DigestUpdate(context_.get(), bytes, size) == 1;
  }
  std::string Hex() {  // empty: it failed
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    ok_ = ok_ && EVP_DigestFinal_ex(context_.get(), bytes, &size) == 1;
    if (!ok_) return "";
    return absl::BytesToHexString({reinterpret_cast<const char*>(bytes), size});
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
  bool ok_ = false;
};

bool IsHash(const std::string& word) {
  return (word.size() == 64 || word.size() == 128) &&
         std::all_of(word.begin(), word.end(),
                     [](unsigned char c) { return absl::ascii_isxdigit(c); });
}

// One line's hash and the file that it is of; false for every other line.
bool ParseLine(absl::string_view line, std::string* hash, std::string* file) {
  absl::ConsumePrefix(&line, "- ");  // how a PGP clearsigned text quotes a line
  line = absl::StripAsciiWhitespace(line);
  if (const size_t close = line.rfind(") = "); close != absl::string_view::npos) {
    const size_t open = line.find(" (");
    if (open == absl::string_view::npos || open + 2 > close) return false;
    *file = std::string(line.substr(open + 2, close - open - 2));
    *hash = std::string(line.substr(close + 4));
  } else {
    const size_t end = std::min(line.find_first_of(" \t"), line.size());
    *hash = std::string(line.substr(0, end));
    absl::string_view rest = absl::StripLeadingAsciiWhitespace(line.substr(end));
    absl::ConsumePrefix(&rest, "*");
    *file = std::string(rest);
  }
  *hash = absl::AsciiStrToLower(*hash);
  if (const size_t slash = file->rfind('/'); slash != std::string::npos)
    *file = file->substr(slash + 1);
  return IsHash(*hash);
}

}  // namespace

absl::StatusOr<Sums> SumsOf(const std::string& path, const std::string& name, Progress* progress) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat file;
  if (!fd.ok() || fstat(fd.get(), &file) != 0) return absl::ErrnoToStatus(errno, path);
  Digest sha256(EVP_sha256()), sha512(EVP_sha512());
  std::vector<char> buffer(1 << 18);
  int64_t done = 0;
  while (true) {
    const ssize_t n = read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::ErrnoToStatus(errno, path);
    if (n == 0) break;
    sha256.Add(buffer.data(), static_cast<size_t>(n));
    sha512.Add(buffer.data(), static_cast<size_t>(n));
    done += n;
    if (absl::Status status = progress->GoOn(); !status.ok()) return status;
    if (progress->Due() && file.st_size > 0) {
      progress->Update(absl::StrCat("checking ", name, ": ", done * 100 / file.st_size, " %"));
    }
  }
  Sums sums{sha256.Hex(), sha512.Hex()};
  if (sums.sha256.empty() || sums.sha512.empty()) return absl::InternalError("libcrypto: no SHA-2");
  return sums;
}

absl::Status CheckSums(const Sums& found, const ExpectedSum& expected, const std::string& name) {
  const bool wide = !expected.sum.sha512.empty();
  const std::string& is = wide ? found.sha512 : found.sha256;
  const std::string must = absl::AsciiStrToLower(wide ? expected.sum.sha512 : expected.sum.sha256);
  if (must.empty() || is == must) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("image ", name, ": its ", wide ? "SHA-512" : "SHA-256", " is ", is, ", not ",
                   must, ", as ", expected.said_by,
                   " says: another image has taken its place there, or it was changed on the way. "
                   "Nothing was made of it"));
}

absl::StatusOr<Sums> FindSum(const std::string& text, const std::string& name) {
  Sums sums;
  std::string hash, file;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!ParseLine(line, &hash, &file) || file != name) continue;
    (hash.size() == 64 ? sums.sha256 : sums.sha512) = hash;
  }
  const std::string alone(absl::StripAsciiWhitespace(text));
  if (IsHash(alone))
    (alone.size() == 64 ? sums.sha256 : sums.sha512) = absl::AsciiStrToLower(alone);
  if (!sums.sha512.empty()) sums.sha256.clear();
  if (sums.sha256.empty() && sums.sha512.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("it names no SHA-256 or SHA-512 of \"", name, "\""));
  }
  return sums;
}

}  // namespace rum
