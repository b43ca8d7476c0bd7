#ifndef RUM_TESTS_CONTROLLER_IMAGES_CERTIFICATE_H_
#define RUM_TESTS_CONTROLLER_IMAGES_CERTIFICATE_H_

#include <string>

namespace rum {

struct TestCertificate {
  std::string certificate, key;  // PEM
};

// Self-signed, for 127.0.0.1, for an hour.
TestCertificate MakeCertificate();

}  // namespace rum

#endif  // RUM_TESTS_CONTROLLER_IMAGES_CERTIFICATE_H_
