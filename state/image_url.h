#ifndef RUM_STATE_IMAGE_URL_H_
#define RUM_STATE_IMAGE_URL_H_

#include <string>

namespace rum {

// What may be shown of the URL of an image, and where one may come from without a checksum.

// A URL as it may be shown and stored: without a user's name and password, without its fragment,
// and with `***` in the place of each value of its query but those of plain names such as
// "version". What is no URL stays as it is. ShownUrl(ShownUrl(url)) is ShownUrl(url).
std::string ShownUrl(const std::string& url);

// A line of a file as it may be shown, as wide as it was: asterisks for a URL in it that has
// something to hide.
std::string WithoutSecrets(const std::string& line);

// Whether the URL is http:// of this host itself: 127.0.0.0/8, [::1] or localhost. No network is
// between.
bool IsLoopbackUrl(const std::string& url);

// Why nothing may be downloaded from an http(s):// URL; empty: it may.
std::string ChecksumProblem(const std::string& url, const std::string& sha256);

}  // namespace rum

#endif  // RUM_STATE_IMAGE_URL_H_
