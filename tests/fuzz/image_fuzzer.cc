// Any bytes as what comes of images: a mirror's file of checksums, the head of a file, a URL.
#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "controller/images/checksums.h"
#include "controller/images/location.h"
#include "state/image_head.h"
#include "state/image_url.h"

namespace {

bool IsHash(const std::string& text, size_t size) {
  return text.empty() ||
         (text.size() == size && std::all_of(text.begin(), text.end(), [](unsigned char c) {
            return std::isdigit(c) != 0 || (c >= 'a' && c <= 'f');
          }));
}

void Checksums(const std::string& bytes) {
  const auto sums = rum::FindSum(bytes, "a.qcow2");
  if (!sums.ok()) return;
  // One of them, and it is in the text.
  if (sums->sha256.empty() == sums->sha512.empty() || !IsHash(sums->sha256, 64) ||
      !IsHash(sums->sha512, 128)) {
    std::abort();
  }
  std::string lower = bytes;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (lower.find(sums->sha256 + sums->sha512) == std::string::npos) std::abort();
}

void Head(const std::string& bytes) {
  const auto head = rum::ReadQcow2Head(bytes);
  if (head.has_value() != (bytes.compare(0, 4, "QFI\xfb") == 0)) std::abort();
  const auto padded = rum::ReadQcow2Head(bytes + std::string(rum::kQcow2HeadBytes, '\0'));
  if (head.has_value() &&
      (head->below_at != padded->below_at || head->virtual_size != padded->virtual_size)) {
    std::abort();
  }
}

void Url(const std::string& bytes) {
  const auto where = rum::LocationOf(bytes);
  (void)rum::ShownUrl(bytes);
  (void)rum::MayRedirect("https://a/b", bytes, false);
  if (!where.ok()) return;
  if (where->remote == where->url.empty() || where->name.find('/') != std::string::npos) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  Checksums(bytes);
  Head(bytes);
  Url(bytes);
  return 0;
}
