#include "tests/controller/guests/by_process.h"

#include <gmock/gmock.h>

#include <cstdio>

#include "controller/guests/guest_side.h"
#include "controller/guests/zygote.h"

int main(int argc, char** argv) {
  if (const absl::Status started = rum::StartZygote(argc, argv, rum::BeGuestProcess);
      !started.ok()) {
    std::fprintf(stderr, "%s\n", std::string(started.message()).c_str());
    return 1;
  }
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
